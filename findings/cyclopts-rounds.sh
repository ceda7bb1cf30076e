#!/bin/sh
# cyclopts 5.5.2: an option of the type `int` accepts "0.4" and gives 0. There is no error.
#
# Expected: an error that 0.4 is not an integer, as in argparse, click and typer. Seen: a text with a
# dot is read as a float and rounded, so that "30.0" works. So 0.4 gives 0, 1.6 gives 2, 2.5 gives 2.
#
# Consequence: if 0 means "no limit" or "for ever", a small limit is lost. A converter that accepts
# only digits avoids this.
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
