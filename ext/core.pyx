# cython: language_level=3, autotestdict=False, boundscheck=False, wraparound=False
# cython: initializedcheck=False, auto_pickle=False
"""Compiled kernels of dtrfast: digests, cut points, comparison, HTTP/1.1 framing, replay of
deflate streams, headers of tars, copies of slices.

The functions depend only on bytes: not on files, settings or classes of the package. Inputs are
contiguous buffers of any item type. Errors are builtin exceptions. Threads may pass objects to each
other, but two threads must not use one at the same time: that raises RuntimeError.
"""

include "buffers.pyx"
include "digests.pyx"
include "chunker.pyx"
include "framing.pyx"
include "replay.pyx"
include "tar.pyx"
include "slices.pyx"
