"""Headers of tar archives (POSIX ustar, and the forms of GNU and of old tars)."""

from libc.stdint cimport int64_t

cdef enum:
    TAR_BLOCK_SIZE = 512
    TAR_SIZE_AT = 124
    TAR_SIZE_LENGTH = 12
    TAR_CHECKSUM_AT = 148
    TAR_CHECKSUM_LENGTH = 8
    TAR_TYPE_AT = 156


cdef int64_t tar_octal(const uint8_t *field, int length) noexcept nogil:
    """Return the number in a field of octal digits, or -1 if it has anything else."""
    cdef int64_t value = 0
    cdef int at = 0
    while at < length and field[at] == 0x20:
        at += 1
    while at < length and 0x30 <= field[at] <= 0x37:
        value = value * 8 + (field[at] - 0x30)
        at += 1
    while at < length and (field[at] == 0x20 or field[at] == 0):
        at += 1
    return value if at == length else -1


cdef int64_t tar_size(const uint8_t *field) noexcept nogil:
    """Return the size of an entry: octal, or base 256 for entries of 8 GiB and more; or -1."""
    cdef int64_t value = 0
    cdef int at
    if field[0] != 0x80:
        return tar_octal(field, TAR_SIZE_LENGTH)
    for at in range(1, TAR_SIZE_LENGTH):
        if value >> 54:
            return -1
        value = value << 8 | field[at]
    return value


def tar_header(data, Py_ssize_t offset) -> tuple | None:
    """Return the type (a byte as a number) and the size in bytes that a tar header states.

    The header is the 512 bytes of `data` at `offset`, which must be there (ValueError). A block of
    zeros, which ends an archive, gives (-1, 0). None: the block is no header, because its checksum
    or its size is wrong.
    """
    cdef Py_buffer view
    cdef const uint8_t *block
    cdef uint32_t unsigned_sum = 8 * 0x20
    cdef int64_t size
    cdef int at
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if offset < 0 or view.len < TAR_BLOCK_SIZE or offset > view.len - TAR_BLOCK_SIZE:
            raise ValueError("a tar header has 512 bytes")
        block = <const uint8_t *>view.buf + offset
        for at in range(TAR_BLOCK_SIZE):
            if not TAR_CHECKSUM_AT <= at < TAR_CHECKSUM_AT + TAR_CHECKSUM_LENGTH:
                unsigned_sum += block[at]
        if unsigned_sum == 8 * 0x20 and not any_in(block + TAR_CHECKSUM_AT, TAR_CHECKSUM_LENGTH):
            return -1, 0
        if tar_octal(block + TAR_CHECKSUM_AT, TAR_CHECKSUM_LENGTH) != unsigned_sum:
            return None
        size = tar_size(block + TAR_SIZE_AT)
        return None if size < 0 else (block[TAR_TYPE_AT], size)
    finally:
        PyBuffer_Release(&view)


cdef bint any_in(const uint8_t *data, int size) noexcept nogil:
    """Return True if one of the bytes is not zero."""
    cdef int at
    for at in range(size):
        if data[at]:
            return True
    return False
