#!/bin/sh
# Ollama 0.17.4 requests each tensor of a model twice, and discards the first answer unread.
#
# Expected: a pull of a model with N tensors makes N GETs of blobs. Seen: 2 N, each answered with the whole
# blob. The first only checks for a redirect to another host, and its body is closed.
#
# Reason: `resolve` sends a GET where a HEAD, or the answer itself, would be enough.
#
# Consequence: a registry that serves blobs itself sends up to twice the bytes of small tensors. Its log has
# one aborted request for each complete one. Bytes in sockets, and disk reads ahead of a client that
# disconnects, are a real cost.
# Needs Go 1.24 or newer.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export GOFLAGS="-modcacherw -mod=mod" GOMODCACHE="$folder/modules" GOTOOLCHAIN=local
cat >"$folder/go.mod" <<'END'
module demo

go 1.24.1

require github.com/ollama/ollama v0.17.4
END
cat >"$folder/main.go" <<'END'
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"

	"github.com/ollama/ollama/x/imagegen/transfer"
)

func main() {
	var asked atomic.Int64
	contents := map[string][]byte{}
	var blobs []transfer.Blob
	for n := range 20 {
		content := []byte(strings.Repeat(fmt.Sprint(n), 1000))
		digest := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
		contents[digest] = content
		blobs = append(blobs, transfer.Blob{Digest: digest, Size: int64(len(content))})
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Write(contents[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]])
	}))
	err := transfer.Download(context.Background(), transfer.DownloadOptions{
		Blobs: blobs, BaseURL: server.URL, DestDir: os.Args[1], Repository: "library/model",
	})
	fmt.Printf("%d blobs: %d GETs, error: %v\n", len(blobs), asked.Load(), err)
	if err != nil || asked.Load() != int64(2*len(blobs)) {
		os.Exit(1)
	}
}
END
cd "$folder"
go run . "$folder/models"
