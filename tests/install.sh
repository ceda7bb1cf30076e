#!/bin/sh
# Installs what the tests need beyond Python packages: container tools, a rootfs builder, an
# aarch64 emulator with its compiler, a compiler that fuzzes, clients and headers for TLS, an LDAP
# server, a browser. Needs root on Debian or Ubuntu; elsewhere it says why it does nothing. Starts no service.
# Quick when all is there.
set -eu

# netavark: podman refuses to start without a network backend. runc: runs containers for docker and
# podman. debian-archive-keyring: debootstrap checks signatures, and not every host is Debian itself.
packages="docker.io skopeo podman buildah umoci debootstrap
    netavark runc ca-certificates debian-archive-keyring
    qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    clang libclang-rt-dev curl openssl libssl-dev
    slapd ldap-utils chromium"

skip() {
    echo "tests/install.sh: nothing installed: $1" >&2
    exit 0
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

command -v apt-get >/dev/null && command -v dpkg-query >/dev/null || skip "this is not Debian (no apt-get)"

missing=""
for package in $packages; do
    installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" = 0 ] || skip "not root; run as root: apt-get install --no-install-recommends$missing"

# invoke-rc.d asks this file before it starts a service. One that is there already stays: it is not
# ours to change, and RUNLEVEL=1 below covers what it would allow.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt="apt-get -q -o DPkg::Lock::Timeout=600"
# shellcheck disable=SC2086  # both are lists of words
if ! $apt install -y --no-install-recommends $missing; then
    # The lists are missing or name versions the mirror has dropped.
    $apt update
    $apt install -y --no-install-recommends $missing
fi
