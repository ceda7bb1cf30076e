# cython: language_level=3, autotestdict=False, boundscheck=False, wraparound=False
# cython: initializedcheck=False, auto_pickle=False
"""Compiled kernels of dtrfast: digests, cut points, comparison, HTTP/1.1 framing.

Everything here is a function of bytes: no files, no settings, no classes of the package. Inputs
are contiguous buffers of any item type; what is wrong raises a builtin exception. Objects may be
handed from thread to thread, but not used by two at once: that raises RuntimeError.
"""

include "buffers.pyx"
include "digests.pyx"
include "chunker.pyx"
include "framing.pyx"
