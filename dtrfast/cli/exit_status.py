"""The exit statuses of all commands. docs/command-line.md documents them."""

from __future__ import annotations

OK = 0
# The command was refused or did not do all of its work. A sentence on standard error says why.
FAILED = 1
# The command line is wrong. The command did nothing.
WRONG_USAGE = 2
# The command did its work and found damage or loss.
DAMAGED = 3
# Ctrl-C ended the command: 128 and the number of SIGINT, as shells count it.
INTERRUPTED = 130
