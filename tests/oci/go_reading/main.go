// Says of manifests whether the libraries of Go clients can read them, and what image-spec reads.
//
// Input: lines of JSON {"type": media type, "body": base64}. Output: lines of JSON in this order.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containers/image/v5/manifest"
	crane "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

type input struct {
	Type string `json:"type"`
	Body []byte `json:"body"`
}

type output struct {
	RefusedBy []string `json:"refused_by"`
	Reading   any      `json:"reading,omitempty"`
}

// A store of one manifest, as containerd reads it.
type store []byte

type reader struct {
	*bytes.Reader
}

func (reader) Close() error { return nil }

func (s store) ReaderAt(context.Context, v1.Descriptor) (content.ReaderAt, error) {
	return reader{bytes.NewReader(s)}, nil
}

func isIndex(mediaType string) bool {
	return mediaType == v1.MediaTypeImageIndex || mediaType == manifest.DockerV2ListMediaType
}

func judge(in input) output {
	out := output{RefusedBy: []string{}}
	say := func(name string, err error) {
		if err != nil {
			out.RefusedBy = append(out.RefusedBy, name)
		}
	}
	var errs [3]error
	if isIndex(in.Type) {
		index := v1.Index{}
		errs[0] = json.Unmarshal(in.Body, &index)
		out.Reading = index
		_, errs[1] = manifest.ListFromBlob(in.Body, in.Type)
		_, errs[2] = crane.ParseIndexManifest(bytes.NewReader(in.Body))
	} else {
		image := v1.Manifest{}
		errs[0] = json.Unmarshal(in.Body, &image)
		out.Reading = image
		_, errs[1] = manifest.FromBlob(in.Body, in.Type)
		_, errs[2] = crane.ParseManifest(bytes.NewReader(in.Body))
	}
	say("image-spec", errs[0])
	say("containers-image", errs[1])
	say("go-containerregistry", errs[2])
	descriptor := v1.Descriptor{
		MediaType: in.Type, Digest: digest.FromBytes(in.Body), Size: int64(len(in.Body)),
	}
	_, err := images.Children(context.Background(), store(in.Body), descriptor)
	say("containerd", err)
	if errs[0] != nil {
		out.Reading = nil
	}
	return out
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	for lines.Scan() {
		in := input{}
		if err := json.Unmarshal(lines.Bytes(), &in); err != nil {
			panic(err)
		}
		if err := encoder.Encode(judge(in)); err != nil {
			panic(err)
		}
	}
}
