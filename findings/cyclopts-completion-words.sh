#!/bin/sh
# cyclopts 5.5.2: the bash completion stops working after a value that is spelled like some command.
#
# Expected: `tool job run check --<TAB>` lists the options of `job run`, as after any other value. Seen:
# it lists nothing, because `check` is also a command of `tool`. After `tool job run sync` all options
# are listed.
#
# Reason: the generated script takes every word that is the name of a command, at any depth, for a part of
# the command's path. The path `job run check` does not exist, so it has no options.
#
# Consequence: values and names of resources that users choose themselves (a user called `run`) disable
# the completion of the rest of the line.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cyclopts==5.5.2
cat >"$folder/tool.py" <<'END'
from typing import Literal

import cyclopts

app = cyclopts.App(name="tool")
job = cyclopts.App(name="job")
app.command(job)


@job.command
def run(name: Literal["check", "sync"], *, wait: bool = False) -> None:
    pass


@app.command
def check() -> None:
    pass


print(app.generate_completion(shell="bash"))
END
"$folder/venv/bin/python" "$folder/tool.py" >"$folder/completion.bash"
cat >"$folder/complete.bash" <<'END'
source "$1"
function=$(complete -p tool | sed 's/.* -F \([^ ]*\).*/\1/')
shift
COMP_WORDS=(tool "$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
COMP_LINE="tool $*"
COMP_POINT=${#COMP_LINE}
"$function" tool "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
echo "${COMPREPLY[*]}"
END

complete() {
    bash "$folder/complete.bash" "$folder/completion.bash" "$@"
}

sync=$(complete job run sync --)
check=$(complete job run check --)
echo "after \`job run sync --\`: $sync"
echo "after \`job run check --\`: ${check:-(nothing)}"
case $sync in *--wait*) ;; *) exit 1 ;; esac
[ -z "$check" ]
