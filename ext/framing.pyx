"""HTTP/1.1 framing: strict parsing of request heads and chunked bodies (RFC 9112)."""

from cpython.buffer cimport PyBUF_WRITABLE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next
from cpython.ref cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.string cimport memcpy

from chunked cimport (
    DTR_CHUNKED_FINISHED,
    DTR_CHUNKED_OK,
    dtr_chunked,
    dtr_chunked_decode,
    dtr_chunked_input,
    dtr_chunked_output,
)
from head cimport (
    DTR_HEAD_COMPLETE,
    DTR_HEAD_INCOMPLETE,
    DTR_HEAD_TOO_MANY_FIELDS,
    dtr_head,
    dtr_head_parse,
    dtr_name_lower,
    dtr_span,
)

# Indexed by the negative of a dtr_head_status.
cdef tuple HEAD_REASONS = (
    "",
    "malformed method",
    "malformed request target",
    "unsupported HTTP version",
    "line does not end with CR LF",
    "malformed field name",
    "control character in field value",
    "folded field line",
    "too many field lines",
    "malformed Content-Length",
    "repeated Content-Length",
    "Transfer-Encoding other than chunked",
    "repeated Transfer-Encoding",
    "Content-Length with Transfer-Encoding",
    "Transfer-Encoding in HTTP/1.0",
    "malformed Host",
    "repeated Host",
    "missing Host",
    "unknown expectation",
)

# Indexed by the negative of a dtr_chunked_status.
cdef tuple CHUNKED_REASONS = (
    "",
    "malformed chunk size",
    "chunk extension",
    "line does not end with CR LF",
    "malformed trailer field",
    "trailer fields too large",
)


cdef int raise_head(int status) except -1:
    if status == DTR_HEAD_TOO_MANY_FIELDS:
        raise OverflowError(HEAD_REASONS[-status])
    raise ValueError(HEAD_REASONS[-status])


cdef bytes span_bytes(const uint8_t *data, dtr_span span):
    return PyBytes_FromStringAndSize(<const char *>data + span.start, span.size)


cdef bytes name_bytes(const uint8_t *data, dtr_span span):
    cdef bytes name = PyBytes_FromStringAndSize(NULL, span.size)
    dtr_name_lower(<uint8_t *>PyBytes_AS_STRING(name), data + span.start, span.size)
    return name


@cython.final
cdef class Head:
    """A request head. Immutable; only parse_head() makes one.

    `size` is the number of bytes of the head, including its empty line; the body starts there.
    `version` is "1.0" or "1.1". `headers` has all fields in order, with names in lower case and
    values without outer white space. `chunked` and `content_length` tell where the body ends; if
    neither is set, there is no body. `forwarded` is True if a proxy's field describes the client.
    """

    cdef readonly str method
    cdef readonly bytes target
    cdef readonly str version
    cdef readonly list headers
    cdef readonly Py_ssize_t size
    cdef readonly object content_length
    cdef readonly bint chunked
    cdef readonly bint keep_alive
    cdef readonly bint expect_continue
    cdef readonly bint forwarded

    def __init__(self):
        raise TypeError("a Head comes from parse_head()")


cdef Head make_head(const uint8_t *data, const dtr_head *parsed):
    cdef Head head = Head.__new__(Head)
    cdef size_t i
    head.method = span_bytes(data, parsed.method).decode("ascii")
    head.target = span_bytes(data, parsed.target)
    head.version = "1.1" if parsed.version_minor else "1.0"
    head.headers = []
    for i in range(parsed.field_count):
        head.headers.append(
            (
                name_bytes(data, parsed.fields[i].name),
                span_bytes(data, parsed.fields[i].value),
            )
        )
    head.size = parsed.size
    head.content_length = None if parsed.content_length < 0 else parsed.content_length
    head.chunked = parsed.chunked
    head.keep_alive = parsed.keep_alive
    head.expect_continue = parsed.expect_continue
    head.forwarded = parsed.forwarded
    return head


def parse_head(data, *, Py_ssize_t size_max=131072):
    """Return the request head at the start of `data`, or None if it is incomplete.

    Raises ValueError with a reason if the head is malformed or ambiguous, as soon as `data` has the
    first wrong byte: answer 400 and close. Raises OverflowError if the head has more than
    `size_max` bytes or 128 field lines: answer 431 and close. docs/kernels.md lists the refused
    heads. Keeps no state and no reference to `data`. Releases the GIL for 64 KiB and more.
    """
    cdef Py_buffer view
    cdef dtr_head parsed
    cdef Py_ssize_t size
    cdef int status
    if size_max < 1:
        raise ValueError("size_max must be positive")
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        size = min(view.len, size_max)
        if size >= GIL_RELEASE_SIZE:
            with nogil:
                status = dtr_head_parse(&parsed, <const uint8_t *>view.buf, size)
        else:
            status = dtr_head_parse(&parsed, <const uint8_t *>view.buf, size)
        if status == DTR_HEAD_COMPLETE:
            return make_head(<const uint8_t *>view.buf, &parsed)
    finally:
        PyBuffer_Release(&view)
    if status != DTR_HEAD_INCOMPLETE:
        raise_head(status)
    if size == size_max:
        raise OverflowError(f"request head larger than {size_max} bytes")
    return None


cdef char *copy_bytes(char *into, bytes data):
    memcpy(into, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    return into + PyBytes_GET_SIZE(data)


cdef char *copy_text(char *into, object text, const char *end) except NULL:
    """Write `text` as UTF-8, then the two bytes of `end`. Returns the position after them."""
    cdef Py_ssize_t size
    cdef const char *data = PyUnicode_AsUTF8AndSize(text, &size)
    memcpy(into, data, size)
    memcpy(into + size, end, 2)
    return into + size + 2


cdef Py_ssize_t text_size(object text) except -1:
    cdef Py_ssize_t size
    PyUnicode_AsUTF8AndSize(text, &size)
    return size


def encode_answer(bytes status_line, dict headers, bytes lines, bytes body):
    """Return the bytes of an answer: the status line, `headers`, more header `lines`, the body.

    `status_line` and `lines` contain their line ends; the empty line after the head is added here.
    Nothing is checked: the caller must not pass headers that a client could have written.
    """
    cdef Py_ssize_t position = 0
    cdef Py_ssize_t size = PyBytes_GET_SIZE(status_line) + PyBytes_GET_SIZE(lines)
    cdef PyObject *name
    cdef PyObject *value
    while PyDict_Next(headers, &position, &name, &value):
        size += text_size(<object>name) + text_size(<object>value) + 4
    size += 2 + PyBytes_GET_SIZE(body)
    cdef bytes answer = PyBytes_FromStringAndSize(NULL, size)
    cdef char *into = copy_bytes(PyBytes_AS_STRING(answer), status_line)
    position = 0
    while PyDict_Next(headers, &position, &name, &value):
        into = copy_text(into, <object>name, b": ")
        into = copy_text(into, <object>value, b"\r\n")
    into = copy_bytes(into, lines)
    memcpy(into, b"\r\n", 2)
    copy_bytes(into + 2, body)
    return answer


@cython.final
cdef class ChunkedDecoder:
    """Decodes the chunked transfer coding of one body (RFC 9112 section 7.1).

    `finished` is True after the last chunk and the trailer section. The bytes after them belong to
    the next request. For one thread at a time.
    """

    cdef dtr_chunked decoder
    cdef bint busy

    @property
    def finished(self) -> bool:
        return self.decoder.state == DTR_CHUNKED_FINISHED and self.decoder.status == DTR_CHUNKED_OK

    def decode(self, data, into) -> tuple:
        """Decode from `data` into the writable buffer `into`; return (consumed, produced) bytes.

        Stops when `data` is used up, when `into` is full and chunk data follows, or at the end of
        the body. Pass unconsumed bytes again in the next call. `into` may be the memory of `data`;
        the bytes are then decoded in place. Raises ValueError if the body is malformed, and again
        in every later call. Releases the GIL for 64 KiB and more.
        """
        cdef Py_buffer source, target
        claim(&self.busy)
        try:
            PyObject_GetBuffer(data, &source, PyBUF_SIMPLE)
            try:
                PyObject_GetBuffer(into, &target, PyBUF_WRITABLE)
                try:
                    return self.decode_views(&source, &target)
                finally:
                    PyBuffer_Release(&target)
            finally:
                PyBuffer_Release(&source)
        finally:
            self.busy = False

    cdef tuple decode_views(self, Py_buffer *source, Py_buffer *target):
        cdef dtr_chunked_input data = dtr_chunked_input(
            data=<const uint8_t *>source.buf, size=source.len, consumed=0
        )
        cdef dtr_chunked_output into = dtr_chunked_output(
            data=<uint8_t *>target.buf, size=target.len, produced=0
        )
        cdef int status
        if source.len >= GIL_RELEASE_SIZE:
            with nogil:
                status = dtr_chunked_decode(&self.decoder, &data, &into)
        else:
            status = dtr_chunked_decode(&self.decoder, &data, &into)
        if status != DTR_CHUNKED_OK:
            raise ValueError(CHUNKED_REASONS[-status])
        return data.consumed, into.produced
