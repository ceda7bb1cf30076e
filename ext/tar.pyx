"""Headers of tar archives (POSIX ustar, and the forms of GNU and of old tars)."""

from libc.stdint cimport int64_t

cdef enum:
    TAR_BLOCK_SIZE = 512
    TAR_SIZE_AT = 124
    TAR_SIZE_LENGTH = 12
    TAR_CHECKSUM_AT = 148
    TAR_CHECKSUM_LENGTH = 8
    TAR_TYPE_AT = 156
    TAR_END = -1 # a block of zeros
    TAR_NONE = -2


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


cdef int tar_type(const uint8_t *block, int64_t *size) noexcept nogil:
    """Return the type of a header and set the size it states; TAR_END or TAR_NONE for no header."""
    cdef uint32_t unsigned_sum = 8 * 0x20
    cdef int at
    size[0] = 0
    for at in range(TAR_CHECKSUM_AT):
        unsigned_sum += block[at]
    for at in range(TAR_CHECKSUM_AT + TAR_CHECKSUM_LENGTH, TAR_BLOCK_SIZE):
        unsigned_sum += block[at]
    if unsigned_sum == 8 * 0x20 and not any_in(block + TAR_CHECKSUM_AT, TAR_CHECKSUM_LENGTH):
        return TAR_END
    if tar_octal(block + TAR_CHECKSUM_AT, TAR_CHECKSUM_LENGTH) != unsigned_sum:
        return TAR_NONE
    size[0] = tar_size(block + TAR_SIZE_AT)
    return TAR_NONE if size[0] < 0 else <int>block[TAR_TYPE_AT]


def tar_header(data, Py_ssize_t offset) -> tuple | None:
    """Return the type (a byte as a number) and the size in bytes that a tar header states.

    The header is the 512 bytes of `data` at `offset`, which must be there (ValueError). A block of
    zeros, which ends an archive, gives (-1, 0). None: the block is no header, because its checksum
    or its size is wrong.
    """
    cdef Py_buffer view
    cdef int64_t size
    cdef int kind
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if offset < 0 or view.len < TAR_BLOCK_SIZE or offset > view.len - TAR_BLOCK_SIZE:
            raise ValueError("a tar header has 512 bytes")
        kind = tar_type(<const uint8_t *>view.buf + offset, &size)
        return None if kind == TAR_NONE else (kind, size)
    finally:
        PyBuffer_Release(&view)


def tar_files(data, Py_ssize_t offset, int64_t size_max) -> tuple:
    """Return the small files of a tar from `offset` on, and the offset behind their entries.

    A file is a tuple of the offset and the size of its content. Entries without content are passed
    over: directories, links, devices and empty files. The first other entry ends the list, such as
    a file with more than `size_max` bytes or an extension, and so does an entry that is not in
    `data` completely, or no header. Raises ValueError for an offset outside of `data`.
    """
    cdef Py_buffer view
    cdef list files = []
    cdef int64_t size, whole
    cdef int kind
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if not 0 <= offset <= view.len:
            raise ValueError("the offset is outside of the bytes")
        while view.len - offset >= TAR_BLOCK_SIZE:
            kind = tar_type(<const uint8_t *>view.buf + offset, &size)
            if 0x31 <= kind <= 0x36:  # "1" to "6": links, devices, directories
                offset += TAR_BLOCK_SIZE
                continue
            if kind not in (0, 0x30, 0x37) or size > size_max:
                break
            whole = (size + TAR_BLOCK_SIZE - 1) // TAR_BLOCK_SIZE * TAR_BLOCK_SIZE
            if whole > view.len - offset - TAR_BLOCK_SIZE:
                break
            if size:
                files.append((offset + TAR_BLOCK_SIZE, size))
            offset += TAR_BLOCK_SIZE + whole
        return files, offset
    finally:
        PyBuffer_Release(&view)


cdef bint any_in(const uint8_t *data, int size) noexcept nogil:
    """Return True if one of the bytes is not zero."""
    cdef int at
    for at in range(size):
        if data[at]:
            return True
    return False
