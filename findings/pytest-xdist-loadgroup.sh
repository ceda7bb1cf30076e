#!/bin/sh
# pytest 9.2.0 with pytest-xdist 3.8.0: `--dist loadgroup` accepts `xdist_group` marks and ignores them.
#
# Expected: the six tests below carry one mark, so one worker runs all of them, and a fixture of the
# session runs once. Seen: both workers run some of them, and the fixture runs twice. There is
# no warning. With pytest 9.1.1 one worker runs all six.
#
# Reason: the worker adds "@group" to the private attribute `_nodeid` of an item, and the scheduler
# reads the group from the id that the worker reports. pytest 9.2 derives `nodeid` from another
# attribute, so the reported id has no group.
#
# Consequence: if a suite groups tests that share a server or a daemon, each worker starts its own, and
# tests that must not overlap do overlap. A scheduler from the hook `pytest_xdist_make_scheduler` that
# computes the group from the id avoids this.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/test_group.py" <<'END'
import os
import time

import pytest


@pytest.mark.xdist_group("together")
@pytest.mark.parametrize("number", range(6))
def test_worker(number):
    time.sleep(0.2)
    with open(os.environ["SEEN"], "a") as seen:
        seen.write(os.environ["PYTEST_XDIST_WORKER"] + "\n")
END

workers_with() { # version of pytest
    python3 -m venv "$folder/$1"
    "$folder/$1/bin/pip" install --quiet --disable-pip-version-check "pytest==$1" pytest-xdist==3.8.0
    (cd "$folder" && SEEN="$folder/seen-$1" "$folder/$1/bin/python" -m pytest -q -p no:cacheprovider \
        --numprocesses 2 --dist loadgroup test_group.py) >"$folder/output" 2>&1
    ! grep -i warning "$folder/output" >&2
    sort -u "$folder/seen-$1" | wc -l
}

before=$(workers_with 9.1.1)
now=$(workers_with 9.2.0)
echo "workers that ran the tests of one group: pytest 9.1.1: $before, pytest 9.2.0: $now"
[ "$before" = 1 ] && [ "$now" = 2 ]
