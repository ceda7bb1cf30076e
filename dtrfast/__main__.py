"""`python -m dtrfast` and the command `dtrfast`."""

from __future__ import annotations

import sys

from dtrfast.cli.app import run


def main() -> int:
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
