#!/bin/sh
# The Python package oras 0.2.43: a push that the registry refuses with 403 takes more than two minutes.
#
# Expected: 403 DENIED ends the push with an error at once: the same request gets the same answer. Seen:
# the request is sent six times, with pauses of 3, 5, 11, 29 and 83 seconds, and after the last pause the
# error is "Cannot respond to request for authentication." without the registry's own words.
#
# Reason: a decorator retries `do_request` after almost every exception, and a 403 that no token can fix
# raises an exception like that of a network error.
#
# Consequence: a CI job with a read-only password seems to hang. Look for 403 in the registry's access
# log. This script counts the pauses and does not wait for them.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check oras==0.2.43
cat >"$folder/push.py" <<'END'
import http.server
import sys
import threading
import time

import oras.client


class Refusing(http.server.BaseHTTPRequestHandler):
    requests = []

    def answer(self):
        self.requests.append(self.command)
        body = b'{"errors":[{"code":"DENIED","message":"you may only read here"}]}'
        self.send_response(404 if self.command == "HEAD" else 403)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET = do_POST = do_PUT = answer

    def log_message(self, *words):
        pass


pauses = []
time.sleep = pauses.append
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
threading.Thread(target=server.serve_forever, daemon=True).start()
host = f"127.0.0.1:{server.server_port}"
client = oras.client.OrasClient(hostname=host, insecure=True)
client.auth.set_basic_auth("reader", "password")
told = ""
try:
    client.push(target=f"{host}/team/app:1", files=["file"], disable_path_validation=True)
except Exception as error:
    told = str(error)
posts = Refusing.requests.count("POST")
print(f"a refused POST was sent {posts} times, with pauses of {pauses}: {sum(pauses)} s; told: {told}")
sys.exit(not (posts > 4 and sum(pauses) > 120 and "only read" not in told))
END
cd "$folder"
echo content >file
HOME=$folder "$folder/venv/bin/python" push.py
