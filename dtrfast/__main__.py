"""`python -m dtrfast` and the command `dtrfast`."""

from __future__ import annotations

import os
import sys

from dtrfast.cli.app import run


def main() -> int:
    # Only this user may read the files that commands and servers write. Child processes inherit it.
    os.umask(0o077)
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
