#!/bin/sh
# Puts axe-core, which looks for what keeps people from using a page, into .cache/axe. It is a file
# of an npm package: npm gets it where there is one, else curl.
set -eu

version=4.14.1
folder="$(cd "$(dirname "$0")/.." && pwd)/.cache/axe"
[ ! -e "$folder/axe.min.js" ] || [ "$(cat "$folder/version" 2>/dev/null)" != "$version" ] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
archive="$work/axe-core-$version.tgz"
if command -v npm >/dev/null; then
    (cd "$work" && npm pack --silent "axe-core@$version" >/dev/null)
else
    curl -fsSL -o "$archive" "https://registry.npmjs.org/axe-core/-/axe-core-$version.tgz"
fi || {
    echo "tests/install_axe.sh: axe-core could not be had: the tests that need it are skipped" >&2
    exit 0
}
mkdir -p "$folder"
tar -xzf "$archive" -C "$work" package/axe.min.js
mv "$work/package/axe.min.js" "$folder/axe.min.js"
echo "$version" >"$folder/version"
