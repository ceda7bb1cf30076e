#!/bin/sh
# The Python package oras signs in once. It answers every later 401 with its first token, whatever scope
# the new challenge names. A push begins with a HEAD, so oras gets a token for `pull`, pushes with it,
# and ends with 401.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check oras==0.2.43
cd "$folder" && echo hello >file.txt
HOME=$folder "$folder/venv/bin/python" - <<'PY'
import http.server, json, logging, threading, urllib.parse
import oras.client

logging.disable(logging.CRITICAL)
tokens, refused = [], []


class Registry(http.server.BaseHTTPRequestHandler):
    def do(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/token":
            scope = urllib.parse.parse_qs(url.query).get("scope", [""])[0]
            tokens.append(scope)
            return self.say(200, json.dumps({"token": scope or "none"}).encode())
        wanted = "pull" if self.command in ("GET", "HEAD") else "pull,push"
        held = self.headers.get("authorization", "").rpartition(":")[2]
        if wanted in held or held == "pull,push":
            return self.say(404 if self.command == "HEAD" else 202)
        refused.append((self.command, held))
        realm = f"http://127.0.0.1:{self.server.server_port}/token"
        challenge = f'Bearer realm="{realm}",service="x",scope="repository:a/b:{wanted}"'
        return self.say(401, headers={"www-authenticate": challenge})

    do_GET = do_HEAD = do_POST = do_PUT = do

    def say(self, status, body=b"", headers=None):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
threading.Thread(target=server.serve_forever, daemon=True).start()
host = f"127.0.0.1:{server.server_port}"
client = oras.client.OrasClient(hostname=host, insecure=True)
client.login(username="u", password="p", hostname=host)
try:
    client.push(target=f"{host}/a/b:v1", files=["file.txt"])
    outcome = "pushed"
except Exception as error:
    outcome = f"refused: {str(error)[:60]!r}"
print("tokens asked for:", tokens)
print("requests answered 401:", refused)
print("the push:", outcome)
asked_again = "repository:a/b:pull,push" in tokens
raise SystemExit("the behavior is another one" if asked_again or outcome == "pushed" else 0)
PY
