#!/bin/sh
# nh3 0.3.8: `clean` gives the attributes of `set_tag_attribute_values` in another order each time, also
# in one process with the same arguments.
#
# Expected: one text for one input, as without this argument: attributes of the input keep their order.
# Seen: 50 calls in one process give several texts, which differ only in the order of the attributes.
#
# Reason: ammonia, the library below, keeps these values in a hash map with a random seed, and nh3 builds
# the map anew in each call. A `Cleaner` builds it once, so it is stable for its life only.
#
# Consequence: the text cannot be the base of an ETag, a cache key or a comparison of snapshots. Two
# processes that serve the same document disagree. Write such attributes into the input before cleaning.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nh3==0.3.8
cat >"$folder/clean.py" <<'END'
import nh3

allowed = {"input": {"type", "disabled", "class"}}
values = {"input": {"type": "checkbox", "disabled": "", "class": "task"}}
added = {
    nh3.clean("<input>", tags={"input"}, attributes=allowed, set_tag_attribute_values=values)
    for _ in range(50)
}
text = '<input type="checkbox" disabled="" class="task">'
kept = {nh3.clean(text, tags={"input"}, attributes=allowed) for _ in range(50)}
print("several" if len(added) > 1 else "one", "several" if len(kept) > 1 else "one")
END

seen=$("$folder/venv/bin/python" "$folder/clean.py")
echo "texts of 50 calls, with added attributes and with attributes of the input: $seen"
[ "$seen" = "several one" ]
