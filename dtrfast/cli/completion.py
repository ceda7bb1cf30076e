"""`dtrfast completion`: scripts that complete commands, options and files in bash, zsh and fish.

The scripts are made from the commands themselves, and are static: a completion starts no Python.
Only the names of profiles are looked up, as names of files. The scripts of cyclopts 5.5 are not
used: they take any word that is the name of some command for a part of the command, so nothing was
completed after `job run check`; and `--public` of `repo update` swallowed the word after it.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cyclopts import App
from cyclopts.argument import Argument

Shell = Literal["bash", "zsh", "fish"]
# The kinds of values: `flag` is an option without one, `text` cannot be completed.
Kind = Literal["flag", "file", "directory", "profile", "choice", "text"]

# Values whose types do not tell that they are paths or words of a list.
_KINDS: dict[str, Kind] = {
    "--data": "directory",
    "--profile": "profile",
    "--tls-cert": "file",
    "--tls-key": "file",
    "DESTINATION": "directory",
    "FILE": "file",
    "PROFILE": "profile",
    "SOURCE": "directory",
}
_CHOICES = {
    "--auth": ("managed", "none"),
    "--tls": ("auto", "off"),
    "JOB": ("check", "empty-trash", "ldap-sync", "measure"),
}


@dataclass(frozen=True, slots=True)
class Value:
    """An option or a positional argument."""

    names: tuple[str, ...]
    kind: Kind
    choices: tuple[str, ...]
    help: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command or a group of commands. `path` is empty for `dtrfast` itself."""

    path: tuple[str, ...]
    help: str
    children: tuple[Command, ...]
    options: tuple[Value, ...]
    positionals: tuple[Value, ...]

    def walk(self) -> Iterator[Command]:
        yield self
        for child in self.children:
            yield from child.walk()


_HELP = Value(("--help", "-h"), "flag", (), "Show the help.")


def script(root: Command, shell: Shell) -> str:
    """Return the script for a shell."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](root)


def describe(app: App, path: tuple[str, ...] = ()) -> Command:
    """Return the commands of an application, with their options."""
    names = [name for name in app if not name.startswith("-")]
    children = tuple(describe(app[name], (*path, name)) for name in names)
    arguments = [] if children else [a for a in app.assemble_argument_collection() if a.show]
    values = [(argument, _value(argument)) for argument in arguments]
    return Command(
        path,
        _sentence(app.help),
        children,
        (*(value for argument, value in values if argument.index is None), _HELP),
        tuple(value for argument, value in values if argument.index is not None),
    )


def _value(argument: Argument) -> Value:
    is_positional = argument.index is not None
    names = tuple(argument.names)
    name = names[0].removeprefix("--").upper() if is_positional else names[0]
    choices = _CHOICES.get(name, ()) or tuple(argument.get_choices() or ())
    return Value(
        (name,) if is_positional else names,
        "choice" if choices else _KINDS.get(name) or _kind_of(argument.hint),
        choices,
        _sentence(argument.parameter.help or name.removeprefix("--").replace("-", " ")),
    )


def _kind_of(hint: Any) -> Kind:
    members = {hint, *typing.get_args(hint)}
    if bool in members:
        return "flag"
    return "file" if Path in members else "text"


def _sentence(text: str) -> str:
    """Return the first sentence of a help text, in one line without its period."""
    line = " ".join(text.split())
    return re.split(r"(?<=[a-z)])\. ", line)[0].rstrip(".")


def _quoted(text: str) -> str:
    """Return a text as one word of bash, zsh and fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "'\\''") + "'"


_PROFILES = '"${XDG_CONFIG_HOME:-$HOME/.config}"/dtrfast/profiles'


# ---- bash --------------------------------------------------------------------------------------
_BASH = r"""# Completion of dtrfast for bash 3.2 and newer, by `dtrfast completion bash`.

_dtrfast_node() {
    commands='' options='' positionals=''
    case "$1" in
@NODES@
    esac
}

_dtrfast_kind() {
    case "$1" in
@KINDS@
    *) kind=flag ;;
    esac
}

_dtrfast_offer() {
    local word
    for word in $1; do
        [[ $word == "$current"* ]] && COMPREPLY+=("$word")
    done
}

_dtrfast_values() {
    case "$1" in
    file) compopt -o default 2>/dev/null ;;
    directory) compopt -o dirnames 2>/dev/null ;;
    profile)
        local path names=''
        for path in @PROFILES@/*.json; do
            path=${path##*/}
            [[ $path == '*.json' ]] || names+=" ${path%.json}"
        done
        _dtrfast_offer "$names"
        ;;
    choice:*) _dtrfast_offer "${1#choice:}" ;;
    esac
}

_dtrfast() {
    local commands options positionals kind path='' index=1 given=0 word
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()
    # bash makes a word of the = in --data=/srv.
    if [[ $current == '=' ]]; then
        current=''
    elif [[ $before == '=' ]]; then
        before=${COMP_WORDS[COMP_CWORD-2]}
    fi
    _dtrfast_node ''
    while ((index < COMP_CWORD)) && [[ " $commands " == *" ${COMP_WORDS[index]} "* ]]; do
        path="$path${path:+ }${COMP_WORDS[index]}"
        ((index++))
        _dtrfast_node "$path"
    done
    if [[ $before == -* ]]; then
        _dtrfast_kind "$before"
        if [[ $kind != flag ]]; then
            _dtrfast_values "$kind"
            return
        fi
    fi
    if [[ $current == -* ]]; then
        _dtrfast_offer "$options"
        return
    fi
    if [[ -n $commands ]]; then
        ((index == COMP_CWORD)) && _dtrfast_offer "$commands"
        return
    fi
    # The number of positional arguments before the word.
    while ((index < COMP_CWORD)); do
        word=${COMP_WORDS[index]}
        if [[ $word == -* ]]; then
            _dtrfast_kind "$word"
            if [[ ${COMP_WORDS[index+1]} == '=' ]]; then
                ((index += 2))
            elif [[ $kind != flag ]]; then
                ((index++))
            fi
        elif [[ $word == ':' || $word == '=' || ${COMP_WORDS[index-1]} == ':' ]]; then
            : # a part of the word before, such as a tag
        else
            ((given++))
        fi
        ((index++))
    done
    local IFS=';' kinds
    read -ra kinds <<<"$positionals"
    IFS=$' \t\n'
    _dtrfast_values "${kinds[given]}"
}

complete -F _dtrfast dtrfast
"""


def _bash(root: Command) -> str:
    nodes: list[str] = []
    kinds: dict[str, str] = {}
    for command in root.walk():
        lines = [
            ("commands", " ".join(child.path[-1] for child in command.children)),
            ("options", " ".join(name for one in command.options for name in one.names)),
            ("positionals", ";".join(_bash_kind(one) for one in command.positionals)),
        ]
        sets = "; ".join(f"{name}={_quoted(text)}" for name, text in lines if text)
        nodes.append(f"    {_quoted(' '.join(command.path))}) {sets} ;;")
        for one in command.options:
            for name in one.names:
                kind = _bash_kind(one)
                # The script looks an option up by its name alone.
                assert kinds.setdefault(name, kind) == kind, f"{name} has two meanings"
    valued = [
        f"    {name}) kind={_quoted(kind)} ;;"
        for name, kind in sorted(kinds.items())
        if kind != "flag"
    ]
    text = _BASH.replace("@NODES@", "\n".join(nodes)).replace("@KINDS@", "\n".join(valued))
    return text.replace("@PROFILES@", _PROFILES)


def _bash_kind(value: Value) -> str:
    return f"choice:{' '.join(value.choices)}" if value.choices else value.kind


# ---- zsh ---------------------------------------------------------------------------------------
_ZSH = r"""#compdef dtrfast
# Completion of dtrfast for zsh, by `dtrfast completion zsh`.

_dtrfast_profiles() {
    local -a names
    names=(@PROFILES@/*.json(N:t:r))
    compadd -a names
}

@FUNCTIONS@
# Loaded as a function by compinit, or read by `source`.
if [[ $funcstack[1] == _dtrfast ]]; then
    _dtrfast "$@"
else
    compdef _dtrfast dtrfast
fi
"""
_ZSH_ACTIONS = {
    "file": "_files",
    "directory": "_files -/",
    "profile": "_dtrfast_profiles",
    "text": " ",
}


def _zsh(root: Command) -> str:
    functions = "\n".join(_zsh_function(command) for command in root.walk())
    return _ZSH.replace("@FUNCTIONS@", functions).replace("@PROFILES@", _PROFILES)


def _zsh_function(command: Command) -> str:
    name = "_".join(["_dtrfast", *command.path])
    specs = [spec for option in command.options for spec in _zsh_option(option)]
    if not command.children:
        specs += [f":{_zsh_text(p.names[0].lower())}:{_zsh_action(p)}" for p in command.positionals]
        lines = " \\\n        ".join(_quoted(spec) for spec in specs)
        return f"{name}() {{\n    _arguments -s \\\n        {lines}\n}}\n"
    specs += ["1:command:->command", "*::argument:->argument"]
    lines = " \\\n        ".join(_quoted(spec) for spec in specs)
    described = "\n".join(
        f"            {_quoted(f'{child.path[-1]}:{child.help}')}" for child in command.children
    )
    cases = "\n".join(
        f"        {child.path[-1]}) {'_'.join(['_dtrfast', *child.path])} ;;"
        for child in command.children
    )
    return (
        f"{name}() {{\n    local curcontext=$curcontext state line\n    local -a commands\n"
        f"    _arguments -C \\\n        {lines}\n    case $state in\n    command)\n"
        f"        commands=(\n{described}\n        )\n        _describe command commands\n"
        f"        ;;\n    argument)\n        case $words[1] in\n{cases}\n        esac\n        ;;\n"
        "    esac\n}\n"
    )


def _zsh_option(option: Value) -> Iterator[str]:
    # An option that is given is not offered again, by none of its names.
    others = f"({' '.join(option.names)})" if len(option.names) > 1 else ""
    for name in option.names:
        help_text = f"[{_zsh_text(option.help)}]"
        if option.kind == "flag":
            yield f"{others}{name}{help_text}"
        else:
            yield f"{others}{name}={help_text}:{name.lstrip('-')}:{_zsh_action(option)}"


def _zsh_action(value: Value) -> str:
    return f"({' '.join(value.choices)})" if value.choices else _ZSH_ACTIONS[value.kind]


def _zsh_text(text: str) -> str:
    return re.sub(r"([\[\]:])", r"\\\1", text)


# ---- fish --------------------------------------------------------------------------------------
_FISH = r"""# Completion of dtrfast for fish, by `dtrfast completion fish`.

# Succeeds if the command line so far begins with the command in the arguments.
function __dtrfast_at
    set -l words (commandline -opc)
    test "$words[2.."(math 1 + (count $argv))"]" = "$argv"
end

# Succeeds if the words so far are exactly the command in the arguments.
function __dtrfast_is
    set -l words (commandline -opc)
    test "$words[2..]" = "$argv"
end

function __dtrfast_profiles
    set -l base $XDG_CONFIG_HOME
    test -n "$base"; or set base $HOME/.config
    for path in $base/dtrfast/profiles/*.json
        string replace -r '^.*/(.*)\.json$' '$1' $path
    end
end

# No files where none are wanted.
complete -c dtrfast -f
@LINES@
"""
_FISH_VALUES = {
    "file": " -r -F",
    "directory": " -x -a '(__fish_complete_directories)'",
    "profile": " -x -a '(__dtrfast_profiles)'",
    "text": " -x",
    "flag": "",
}


def _fish(root: Command) -> str:
    lines = [line for command in root.walk() for line in _fish_command(command)]
    return _FISH.replace("@LINES@", "\n".join(lines))


def _fish_command(command: Command) -> Iterator[str]:
    path = " ".join(command.path)
    for child in command.children:
        condition = _quoted(f"__dtrfast_is {path}".rstrip())
        yield f"complete -c dtrfast -n {condition} -a {child.path[-1]} -d {_quoted(child.help)}"
    place = "__dtrfast_is" if command.children else "__dtrfast_at"
    condition = _quoted(f"{place} {path}".rstrip())
    for option in command.options:
        names = " ".join(
            f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
        )
        values = (
            f" -x -a {_quoted(' '.join(option.choices))}"
            if option.choices
            else _FISH_VALUES[option.kind]
        )
        yield f"complete -c dtrfast -n {condition} {names}{values} -d {_quoted(option.help)}"
    for kind, words in {(one.kind, one.choices) for one in command.positionals}:
        if words:
            yield f"complete -c dtrfast -n {condition} -a {_quoted(' '.join(words))}"
        elif kind == "file":
            yield f"complete -c dtrfast -n {condition} -F"
        elif kind in ("directory", "profile"):
            action = _FISH_VALUES[kind].removeprefix(" -x")
            yield f"complete -c dtrfast -n {condition}{action}"
