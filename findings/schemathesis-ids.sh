#!/bin/sh
# schemathesis 4.32.5 with pytest 9.2.0: the tests of all operations of a schema share one node id, and
# `--dist loadfile` of pytest-xdist 3.8.0 then runs one of them and reports success.
#
# Expected: a schema with five operations gives five tests with five ids, "test_api[GET /0]" and so on,
# and five results, with and without processes. Seen: five tests named "test_api", five results in one
# process, one result with `--numprocesses 2 --dist loadfile`, exit code 0. With pytest 9.1.1 all are
# five.
#
# Reason: the plugin names its tests by a private attribute of pytest's items, which 9.2 no longer reads.
# The schedulers loadfile, loadscope and loadgroup keep the tests of a scope in a dictionary by id.
#
# Consequence: a suite that fuzzes an API loses all operations but one. The only sign is a smaller number
# of passed tests. Compare the number of collected tests with the number of distinct ids.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/test_api.py" <<'END'
import schemathesis

operation = {"get": {"responses": {"200": {"description": "fine"}}}}
schema = schemathesis.openapi.from_dict(
    {
        "openapi": "3.1.0",
        "info": {"title": "five operations", "version": "1"},
        "paths": {f"/{number}": operation for number in range(5)},
    }
)


@schema.parametrize()
def test_api(case):
    assert case.path.startswith("/")
END

count() { # version of pytest
    python="$folder/$1/bin/python"
    python3 -m venv "$folder/$1"
    "$folder/$1/bin/pip" install --quiet --disable-pip-version-check \
        "pytest==$1" pytest-xdist==3.8.0 schemathesis==4.32.5
    cd "$folder"
    ids=$("$python" -m pytest -q -p no:cacheprovider --collect-only test_api.py | grep '::' | sort -u | wc -l)
    alone=$("$python" -m pytest -q -p no:cacheprovider test_api.py | passed)
    shared=$("$python" -m pytest -q -p no:cacheprovider --numprocesses 2 --dist loadfile test_api.py | passed)
    echo "$ids $alone $shared"
}

passed() {
    sed -n 's/^\([0-9]*\) passed.*/\1/p'
}

before=$(count 9.1.1)
now=$(count 9.2.0)
echo "ids, passed in one process, passed in two: pytest 9.1.1: $before, pytest 9.2.0: $now"
[ "$before" = "5 5 5" ] && [ "$now" = "1 5 1" ]
