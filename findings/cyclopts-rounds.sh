#!/bin/sh
# cyclopts 5.5.2: an option that is an `int` takes "0.4" and gives 0. There is no error.
#
# Expected: a complaint that 0.4 is no integer, as argparse, click and typer have it. Seen: a text with
# a dot is read as a float and rounded, so that "30.0" works; with it go 0.4 (0), 1.6 (2), 2.5 (2).
#
# Consequence: where 0 means "no limit" or "for ever", a small limit becomes none. A converter of the
# parameter that takes digits only is not affected.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cyclopts==5.5.2
cat >"$folder/transfer.py" <<'END'
import cyclopts

app = cyclopts.App(result_action="return_value")


@app.default
def transfer(*, rate: int = 7) -> None:
    print(rate, end=" ")


for text in ("0.4", "1.6", "2.5"):
    app(["--rate", text])
END

seen=$("$folder/venv/bin/python" "$folder/transfer.py")
echo "--rate 0.4, 1.6, 2.5 gives $seen"
[ "$seen" = "0 2 2 " ]
