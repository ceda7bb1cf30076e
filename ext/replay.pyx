"""Re-creation of deflate streams, segment by segment (docs/encoders.md)."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdlib cimport free, malloc

from replay cimport (
    DTR_REPLAY_FULL,
    DTR_REPLAY_INVALID,
    DTR_REPLAY_MEMORY,
    DTR_REPLAY_SHORT,
    DTR_REPLAY_STATE_MAX,
    DTR_REPLAY_STOPPED,
    dtr_encoder,
    dtr_encoder_at,
    dtr_encoder_find,
    dtr_replay,
)


# The largest `size_max`. A segment has some MiB.
cdef Py_ssize_t SEGMENT_SIZE_MAX = 1 << 32


def encoders() -> tuple:
    """Return the encoders as tuples of id, name, history and lookahead, in order of ids.

    History and lookahead are the bytes before and behind a segment that decide its output.
    """
    cdef list found = []
    cdef const dtr_encoder *encoder = dtr_encoder_at(0)
    while encoder != NULL:
        found.append((encoder.id, encoder.name.decode(), encoder.history, encoder.lookahead))
        encoder = dtr_encoder_at(len(found))
    return tuple(found)


def replay(
    uint32_t encoder,
    plain,
    *,
    uint64_t begin,
    uint64_t total,
    bytes state,
    uint64_t stop,
    Py_ssize_t size_max,
) -> tuple:
    """Produce one segment of a deflate stream; return its bytes, the next state and position.

    `plain` has the plain bytes from the offset `begin` on, of a stream of `total` bytes. `state` is
    that of the checkpoint at which the segment begins: empty for the start of the stream. The
    segment ends at the first checkpoint at or behind the offset `stop`, or with the stream: then
    the next state is None. The position is the plain offset at which the segment ends.

    The caller must not change the bytes of `plain` during the call, from another thread either:
    encoders read them several times, and may leave their memory if they differ.

    Raises EOFError if more plain bytes are needed, OverflowError if the segment has more than
    `size_max` bytes, and ValueError for an unknown encoder, a state that is not one of its states,
    a window of plain bytes that does not fit the state, or a `size_max` above 4 GiB. Releases the GIL.
    """
    cdef const dtr_encoder *chosen = dtr_encoder_find(encoder)
    cdef Py_buffer view
    cdef dtr_replay *run
    if chosen == NULL:
        raise ValueError(f"there is no encoder {encoder}")
    if len(state) > DTR_REPLAY_STATE_MAX or not 0 <= size_max <= SEGMENT_SIZE_MAX:
        raise ValueError("the state or the size is out of range")
    run = <dtr_replay *>malloc(sizeof(dtr_replay))
    if run == NULL:
        raise MemoryError
    run.out = NULL
    try:
        PyObject_GetBuffer(plain, &view, PyBUF_SIMPLE)
        try:
            if begin > total or <uint64_t>view.len > total - begin:
                raise ValueError("the plain bytes reach behind the end of the stream")
            run.out = <uint8_t *>malloc(size_max or 1)
            if run.out == NULL:
                raise MemoryError
            run.plain = <const uint8_t *>view.buf
            run.begin = begin
            run.end = begin + <uint64_t>view.len
            run.total = total
            run.stop = stop
            run.position = 0
            run.out_capacity = size_max
            run.out_size = 0
            run.state_size = len(state)
            memcpy(run.state, PyBytes_AS_STRING(state), run.state_size)
            return run_encoder(chosen, run)
        finally:
            PyBuffer_Release(&view)
    finally:
        free(run.out)
        free(run)


cdef tuple run_encoder(const dtr_encoder *encoder, dtr_replay *run):
    cdef int result
    with nogil:
        result = encoder.run(run)
    if result == DTR_REPLAY_SHORT:
        raise EOFError("more plain bytes are needed")
    if result == DTR_REPLAY_FULL:
        raise OverflowError("the segment has more bytes than expected")
    if result == DTR_REPLAY_MEMORY:
        raise MemoryError
    if result == DTR_REPLAY_INVALID:
        raise ValueError("the state is not one of this encoder and these bytes")
    state = None
    if result == DTR_REPLAY_STOPPED:
        state = PyBytes_FromStringAndSize(<const char *>run.state, run.state_size)
    data = PyBytes_FromStringAndSize(<const char *>run.out, run.out_size)
    return data, state, run.position
