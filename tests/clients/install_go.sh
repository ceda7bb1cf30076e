#!/bin/sh
# Builds the registry clients that are Go modules at pinned versions, one after the other, into
# .cache/clients/bin under the project root (or the folder given as the first argument). A client
# whose pinned version is already there is left alone. The seconds each took are printed.
# A second argument limits the work to one client by name.
set -eu

# Name of the binary, package, version; each is known to build with Go 1.26. The dockerd here keeps
# its images in containerd, whose registry client is another one than that of Debian's dockerd.
clients="
crane   github.com/google/go-containerregistry/cmd/crane    v0.22.1
oras    oras.land/oras/cmd/oras                             v1.3.6
regctl  github.com/regclient/regclient/cmd/regctl           v0.11.7
helm    helm.sh/helm/v4/cmd/helm                            v4.3.1
cosign  github.com/sigstore/cosign/v3/cmd/cosign            v3.1.3
dockerd-next  github.com/moby/moby/v2/cmd/dockerd           v2.0.0-beta.24
"

root=$(cd "$(dirname "$0")/../.." && pwd)
bin=${1:-$root/.cache/clients/bin}
only=${2:-}

if ! command -v go >/dev/null; then
    echo "tests/clients/install_go.sh: no clients built: there is no go on PATH" >&2
    exit 0
fi

mkdir -p "$bin/new"
bin=$(cd "$bin" && pwd)

built() { # path, version: is this binary made from that version of its module?
    [ -x "$1" ] && go version -m "$1" 2>/dev/null | awk -v want="$2" '
        $1 == "mod" && $3 == want { found = 1 } END { exit !found }'
}

echo "$clients" | while read -r name package version; do
    [ -n "$name" ] || continue
    [ -z "$only" ] || [ "$only" = "$name" ] || continue
    if built "$bin/$name" "$version"; then
        echo "$name $version is there"
        continue
    fi
    start=$(date +%s)
    # Neither optimized nor with what debuggers want, and with fewer garbage collections: helm is
    # built in 115 s so, in 158 s otherwise (2 cores).
    GOGC=400 GOBIN=$bin/new CGO_ENABLED=0 go install -trimpath -ldflags='-s -w' \
        -gcflags='all=-dwarf=false -N -l' "$package@$version"
    mv "$bin/new/${package##*/}" "$bin/$name"
    echo "$name $version built in $(($(date +%s) - start)) s"
done
