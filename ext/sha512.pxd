"""C declarations of sha512.h."""

from libc.stdint cimport uint8_t, uint64_t

cdef extern from "sha512.h" nogil:
    ctypedef struct dtr_sha512:
        uint64_t size
        uint64_t[8] words
        uint8_t[128] block

    void dtr_sha512_init(dtr_sha512 *hash) noexcept
    void dtr_sha512_update(dtr_sha512 *hash, const uint8_t *data, size_t size) noexcept
    void dtr_sha512_digest(const dtr_sha512 *hash, uint8_t *digest) noexcept
