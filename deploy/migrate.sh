#!/bin/sh
# Copies repositories with all of their tags from one registry to another, with skopeo:
#
#   migrate.sh OLD NEW < LIST
#
# OLD and NEW are hosts such as registry.example:5000; LIST has the name of a repository on each line.
# Sign in before: `skopeo login OLD`, `skopeo login NEW`. $SKOPEO_SYNC has more options of
# `skopeo sync`, such as --src-tls-verify=false.
#
# Digests stay the same, and indexes keep all platforms. Content that NEW has already is not sent
# again, so it can run twice: once while OLD is in use, and once more after its last push.
# Referrers without a tag are not copied. If a tag cannot be copied, skopeo names it, the others are
# copied, and the exit status is 1.
set -eu

if [ $# != 2 ]; then
    sed -n '2,/^set/{s/^# \{0,1\}//p;}' "$0" >&2
    exit 2
fi
old=$1
new=$2
failed=""
while read -r repository || [ -n "$repository" ]; do # the last line may lack its break
    [ -n "$repository" ] || continue
    case $repository in
    */*) place=$new/${repository%/*} ;;
    *) place=$new ;;
    esac
    # shellcheck disable=SC2086  # a list of options
    skopeo sync --all --keep-going --preserve-digests --retry-times 3 --src docker --dest docker \
        ${SKOPEO_SYNC:-} "$old/$repository" "$place" </dev/null || failed="$failed $repository"
done
[ -z "$failed" ] || {
    echo "not copied whole:$failed" >&2
    exit 1
}
