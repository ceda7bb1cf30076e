"""A choice of golden streams for the sanitized core, which is ten times slower."""

import os
from collections.abc import Sequence

SANITIZED = os.environ.get("CORE_SANITIZE") == "1"
# One of so many streams runs under sanitizers. Sizes stand in rows of another length, so each row
# gives other sizes.
_STREAMS_PER_RUN = 13


def thin_out(streams: Sequence[str]) -> Sequence[str]:
    """Return the names of the streams that this run has time for: without sanitizers, all.

    Only golden streams may be left out. Damaged states, exact room and missing bytes are the tests
    that need the sanitizers most.
    """
    return streams[::_STREAMS_PER_RUN] if SANITIZED else streams
