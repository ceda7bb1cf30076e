#!/bin/sh
# RFC 7515 (section 4): a verifier ignores header parameters that it does not understand, unless `crit`
# lists them. joserfc refuses the whole token, with an error that is not about the signature. It also
# refuses a header of more than 512 bytes, such as one with a chain of certificates. A JWSRegistry with
# strict_check_header=False and a larger max_header_length accepts both.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check joserfc==1.8.0 cryptography==50.0.2
"$folder/venv/bin/python" - <<'PY'
import base64, json
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from joserfc import jws, jwt
from joserfc.jwk import RSAKey

key = RSAKey.generate_key(2048)


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(**more):
    parts = ({"alg": "RS256", **more}, {"sub": "ci"})
    text = ".".join(encode(json.dumps(part).encode()) for part in parts)
    return text + "." + encode(key.private_key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))


class Lenient(jws.JWSRegistry):
    max_header_length = 16384


lenient = Lenient(algorithms=["RS256"], strict_check_header=False)
cases = {
    "registered parameters": (token(), "accepted", "accepted"),
    "one of its own": (token(ver="2.0"), "UnsupportedHeaderError", "accepted"),
    "one of its own, in crit": (token(ver="2.0", crit=["ver"]), "UnsupportedHeaderError", "UnsupportedHeaderError"),
    "a chain of certificates": (token(x5c=["M" * 2000]), "ExceededSizeError", "accepted"),
}
changed = False
for name, (text, *expected) in cases.items():
    seen = []
    for options in ({"algorithms": ["RS256"]}, {"registry": lenient}):
        try:
            jwt.decode(text, key, **options)
            seen.append("accepted")
        except Exception as error:
            seen.append(type(error).__name__)
    changed |= seen != expected
    print(f"{name}: by default {seen[0]}, lenient {seen[1]}")
raise SystemExit("the behavior is another one" if changed else 0)
PY
