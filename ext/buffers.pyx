"""Borrowed buffers, the rule for the GIL, and comparison."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.string cimport memcmp


cdef enum:
    # Bytes from which a call lets go of the GIL. SHA-256 takes about 10 us for so many, hashing is
    # the slowest kernel, and the interpreter lets a thread keep the GIL for 5 ms anyway; while
    # giving it up may cost a wait of those 5 ms when another thread computes.
    GIL_RELEASE_SIZE = 16384


cdef int claim(bint *busy) except -1:
    """Mark an object as in use; its memory is written while the GIL is released."""
    if busy[0]:
        raise RuntimeError("used by two threads at once")
    busy[0] = True
    return 0


def equal(a, b) -> bool:
    """Whether two buffers hold the same bytes; of different sizes they do not.

    Exact, not constant in time: not for secrets. Releases the GIL for 16 KiB and more.
    """
    cdef Py_buffer left, right
    cdef int order = 1

    PyObject_GetBuffer(a, &left, PyBUF_SIMPLE)
    try:
        PyObject_GetBuffer(b, &right, PyBUF_SIMPLE)
        try:
            if left.len == right.len and left.len >= GIL_RELEASE_SIZE:
                with nogil:
                    order = memcmp(left.buf, right.buf, left.len)
            elif left.len == right.len:
                order = memcmp(left.buf, right.buf, left.len) if left.len else 0
        finally:
            PyBuffer_Release(&right)
    finally:
        PyBuffer_Release(&left)
    return order == 0
