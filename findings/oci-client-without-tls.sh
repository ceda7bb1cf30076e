#!/bin/sh
# The Rust crate oci-client 0.18.0 does not compile without one of its TLS features.
#
# Expected: its TLS features are optional, so `default-features = false` gives a client for plain HTTP, as
# for reqwest, which the crate uses. Seen: "cannot find `Certificate` in `reqwest`":
# the settings of the client name types that reqwest has only with TLS.
#
# Consequence: a program that speaks plain HTTP to a local registry compiles a TLS library as well. The
# quickest is `rustls-tls-no-provider` with rustls on ring; then a provider has to be installed before the
# first client is made.
# Needs cargo 1.85 or newer.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
: >"$folder/src/lib.rs"
cat >"$folder/Cargo.toml" <<'END'
[package]
name = "demo"
version = "0.0.0"
edition = "2024"
rust-version = "1.85"

[dependencies]
oci-client = { version = "=0.18.0", default-features = false }
reqwest = { version = "=0.13.5", default-features = false }
END
cd "$folder"
cargo check --quiet >log 2>&1 && checked=yes || checked=no
echo "oci-client 0.18.0 without TLS compiles: $checked"
grep -m 1 'cannot find.*`Certificate`.*`reqwest`' log
[ "$checked" = no ]
