"""Rules for shared objects and for the GIL, and the comparison of buffers."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.string cimport memcmp


cdef enum:
    # A call releases the GIL for at least so many bytes. Hashing, the slowest kernel, takes 31 us
    # for them, too short to delay other threads. Releasing the GIL is free if no other thread wants
    # it. If a computing thread takes it, getting it back takes the interpreter's switch interval of
    # 5 ms. That happened in 1 to 50 of 100 calls for 64 KiB, depending on the load, and in at most
    # 1 of 100 for 16 KiB (measured with SHA-256 on Zen 5).
    GIL_RELEASE_SIZE = 65536


cdef int claim(bint *busy) except -1:
    """Mark an object as in use, because its memory is written while the GIL is released.

    Raises RuntimeError if another thread uses the object.
    """
    if busy[0]:
        raise RuntimeError("used by two threads at once")
    busy[0] = True
    return 0


def equal(a, b) -> bool:
    """Return True if two buffers have the same size and the same bytes.

    Do not use it for secrets: the time depends on the bytes. Releases the GIL for 64 KiB and more.
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
