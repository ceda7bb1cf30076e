#!/bin/sh
# Writes .ci/lock/GROUP.txt: every package of a group, at one version, with the hashes of its files,
# for every Python from 3.11 on. `make lock` deletes the files first, to get newer versions.
#
#   compiler   what compiles the core       dtrfast   what dtrfast imports
#   wheel      and what finishes a wheel    test      and the short suite
#   dev        and everything else that the Makefile calls
set -eu
cd "$(dirname "$0")/.."

uv=$1
export SSL_CERT_FILE="${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"
mkdir -p .ci/lock

lock() { # group, source, options
    group=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
        --no-annotate --no-emit-package dtrfast --output-file ".ci/lock/$group.txt" "$@"
}

# The largest group comes first, and the other groups use its versions.
lock dev pyproject.toml --extra dev
lock test pyproject.toml --extra test --constraints .ci/lock/dev.txt
lock dtrfast pyproject.toml --constraints .ci/lock/dev.txt
python3 -c 'import tomllib
extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]
print(*extras["wheel"], sep="\n")' |
    lock wheel - --constraints .ci/lock/dev.txt
python3 -c 'import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' |
    lock compiler - --constraints .ci/lock/dev.txt
