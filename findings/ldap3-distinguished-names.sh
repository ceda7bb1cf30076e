#!/bin/sh
# RFC 4514 allows types by number, values in hexadecimal BER (`#04024869`), values with a bare `=`, and
# empty values. One of its four examples in section 4 has two of these. ldap3's parse_dn refuses all of
# them. safe_dn, which every search applies to its base unless check_names is off, changes the
# hexadecimal value to another name: a text that begins with a number sign.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ldap3==2.9.1
"$folder/venv/bin/python" - <<'PY'
from ldap3.utils.dn import parse_dn, safe_dn

REFUSED = "LDAPInvalidDnError"
cases = {
    "UID=jsmith,DC=example,DC=net": ("taken", "UID=jsmith,DC=example,DC=net"),
    "1.3.6.1.4.1.1466.0=#04024869": (REFUSED, REFUSED),
    "2.5.4.3=Hi,dc=example": (REFUSED, REFUSED),
    "cn=#04024869,dc=example": (REFUSED, r"cn=\#04024869,dc=example"),
    "cn=a=b,dc=example": (REFUSED, r"cn=a\=b,dc=example"),
    "cn=,dc=example": (REFUSED, REFUSED),
}
changed = False
for name, expected in cases.items():
    seen = []
    for function in (parse_dn, safe_dn):
        try:
            found = function(name)
            seen.append("taken" if function is parse_dn else found)
        except Exception as error:
            seen.append(type(error).__name__)
    changed |= tuple(seen) != expected
    print(f"{name}: parse_dn {seen[0]}, safe_dn {seen[1]}")
raise SystemExit("the behavior is another one" if changed else 0)
PY
