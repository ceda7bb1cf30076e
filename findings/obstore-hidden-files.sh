#!/bin/sh
# obstore 0.12.1: a LocalStore does not list every file of its directory. A file whose name ends in "#"
# and digits is left out of `list`, and `get` and `put` refuse the name.
#
# Expected: a directory with three files lists three objects. Seen: "report #7" is not among them.
#
# Reason: a `put` writes to NAME#1 and renames it, so such names count as unfinished files.
#
# Consequence: a program that copies, counts or deletes by the list misses such files. That includes
# the store's own ones: after a kill NAME#1 stays for ever with the bytes written so far, and no
# program that uses obstore can see or delete it.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check obstore==0.12.1
mkdir "$folder/data"
touch "$folder/data/report 6" "$folder/data/report #7" "$folder/data/report #x"
cat >"$folder/list.py" <<'END'
import sys

import obstore
from obstore.store import LocalStore

found = obstore.list(LocalStore(sys.argv[1]))
print(sorted(meta["path"] for batch in found for meta in batch))
END

seen=$("$folder/venv/bin/python" "$folder/list.py" "$folder/data")
echo "files: 3; listed: $seen"
[ "$seen" = "['report #x', 'report 6']" ]
