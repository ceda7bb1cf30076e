#!/bin/sh
# obstore 0.12.1: `proxy_excludes="*"` excludes every name from the proxy, and no IP address.
#
# Expected: a star stands for all hosts, as in NO_PROXY=* of curl and Go. Seen: a request to an endpoint
# with an IP address still goes through the proxy.
#
# Reason: a star is compared with names. IP addresses are compared with networks only.
#
# Consequence: without options the library uses the proxy of the environment, and a star does not
# prevent that. "*,0.0.0.0/0,::/0" does.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install obstore==0.12.1
"$folder/venv/bin/python" - <<'P'
import http.server, sys, threading
from datetime import timedelta
import obstore
from obstore.store import S3Store

class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked += 1
        self.send_response(404); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass

def serve():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server); server.asked = 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server

seen = {}
for host in ("localhost", "127.0.0.1"):
    for excludes in ("*", "*,0.0.0.0/0,::/0"):
        store_server, proxy = serve(), serve()
        options = {"timeout": timedelta(seconds=5), "allow_http": True,
                   "proxy_url": f"http://127.0.0.1:{proxy.server_port}", "proxy_excludes": excludes}
        store = S3Store.from_url("s3://b", endpoint=f"http://{host}:{store_server.server_port}", region="us-east-1",
                                 access_key_id="a", secret_access_key="b", client_options=options)
        try: obstore.get(store, "x")
        except FileNotFoundError: pass
        seen[host, excludes] = "the proxy" if proxy.asked else "the store" if store_server.asked else "neither"
        print(f"{host:10} with proxy_excludes={excludes!r}: asks {seen[host, excludes]}")
expected = {("localhost", "*"): "the store", ("127.0.0.1", "*"): "the proxy",
            ("localhost", "*,0.0.0.0/0,::/0"): "the store", ("127.0.0.1", "*,0.0.0.0/0,::/0"): "the store"}
sys.exit(0 if seen == expected else "it behaves in another way now")
P
