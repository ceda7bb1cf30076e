#!/bin/sh
# Writes .ci/lock/GROUP.txt: every package that a group of pyproject.toml needs, at one version, with
# the hashes of its files, for every Python from 3.11 on. Newer versions: delete the files first.
set -eu
cd "$(dirname "$0")/.."

uv=$1
export SSL_CERT_FILE="${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"
mkdir -p .ci/lock

lock() { # group, arguments
    group=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
        --no-annotate --no-emit-package dtrfast --output-file ".ci/lock/$group.txt" "$@" pyproject.toml
}

# The largest group first: the others take its versions, so that one adds to the other.
lock dev --extra dev
lock build --extra build --constraints .ci/lock/dev.txt
lock test --extra test --constraints .ci/lock/dev.txt
