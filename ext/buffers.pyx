"""Borrowed buffers, the rule for the GIL, and comparison."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.string cimport memcmp


cdef enum:
    # Bytes from which a call lets go of the GIL. Hashing, the slowest kernel, takes 31 us for so
    # many: nobody misses the GIL for that long. Letting go is free when no thread wants it, but
    # beside one that computes the way back takes the interpreter's 5 ms switch interval once the
    # other had time to wake up: for 64 KiB in 1 to 50 of 100 calls, by the load of the machine, for
    # 16 KiB in 1 at most (measured with SHA-256 on Zen 5).
    GIL_RELEASE_SIZE = 65536


cdef int claim(bint *busy) except -1:
    """Mark an object as in use; its memory is written while the GIL is released."""
    if busy[0]:
        raise RuntimeError("used by two threads at once")
    busy[0] = True
    return 0


def equal(a, b) -> bool:
    """Whether two buffers hold the same bytes; of different sizes they do not.

    Exact, not constant in time: not for secrets. Releases the GIL for 64 KiB and more.
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
