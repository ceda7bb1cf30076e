#!/bin/sh
# sync_file_range(2) on a file of overlayfs (a container's own layer) returns 0 and writes nothing, since
# the dirty pages belong to the file below. A program that writes back early to keep its fsync short gains
# nothing. This script checks by FIEMAP if a file's blocks are allocated: ext4 allocates when it writes.
# Needs root and ext4 below WORK.
set -eu
WORK=$(mktemp -d "${TMPDIR:-/tmp}/overlay.XXXXXX")
trap 'umount "$WORK/merged" "$WORK/disk" 2>/dev/null || true; rm -rf "$WORK"' EXIT
mkdir "$WORK/disk" "$WORK/merged"
truncate -s 256M "$WORK/image"
mkfs.ext4 -q -F "$WORK/image"
mount -o loop "$WORK/image" "$WORK/disk" || { echo "SKIP no loop device"; exit 77; }
mkdir "$WORK/disk/lower" "$WORK/disk/upper" "$WORK/disk/work"
mount -t overlay overlay -o "lowerdir=$WORK/disk/lower,upperdir=$WORK/disk/upper,workdir=$WORK/disk/work" \
    "$WORK/merged" || { echo "SKIP no overlayfs"; exit 77; }
python3 - "$WORK/disk/plain" "$WORK/merged/file" "$WORK/disk/upper/file" <<'PY'
import ctypes, fcntl, os, platform, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
WAIT_BEFORE, WRITE, WAIT_AFTER = 1, 2, 4
FS_IOC_FIEMAP, DELALLOC, LAST = 0xC020660B, 0x4, 32 + 56 * 32


def waiting(path):
    """Extents that have no block on the disk yet."""
    with open(path, "rb") as file:
        data = bytearray(LAST)
        struct.pack_into("=QQIIII", data, 0, 0, 1 << 40, 0, 0, 32, 0)
        fcntl.ioctl(file, FS_IOC_FIEMAP, data)
        count = struct.unpack_from("=I", data, 20)[0]
        flags = [struct.unpack_from("=I", data, 32 + 56 * n + 40)[0] for n in range(count)]
        return sum(bool(flag & DELALLOC) for flag in flags)


def left(path, below):
    with open(path, "wb", buffering=0) as file:
        file.write(bytes(range(256)) * 4096 * 4)
        size = ctypes.c_int64(4 << 20)
        answer = libc.sync_file_range(file.fileno(), ctypes.c_int64(0), size, WAIT_BEFORE | WRITE | WAIT_AFTER)
        after_range = waiting(below)
        os.fdatasync(file.fileno())
        return answer, after_range, waiting(below)


plain, merged, upper = sys.argv[1:]
print("Linux", platform.release())
on_ext4, on_overlay = left(plain, plain), left(merged, upper)
for name, (answer, ranged, synced) in (("ext4", on_ext4), ("overlayfs", on_overlay)):
    print(f"{name}: sync_file_range {answer}, extents not written {ranged}; after fdatasync {synced}")
sys.exit(on_ext4[:2] != (0, 0) or on_overlay[0] != 0 or on_overlay[1] == 0 or on_overlay[2] != 0)
PY
