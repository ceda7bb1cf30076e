"""C declarations of sha256.h."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "sha256.h" nogil:
    enum: DTR_SHA256_PORTABLE
    enum: DTR_SHA256_SHANI
    enum: DTR_SHA256_ARMV8

    ctypedef void dtr_sha256_blocks(uint32_t *words, const uint8_t *data, size_t block_count)

    ctypedef struct dtr_sha256:
        uint64_t size
        uint32_t[8] words
        uint8_t[64] block

    dtr_sha256_blocks *dtr_sha256_kernel(int kernel_id) noexcept
    void dtr_sha256_init(dtr_sha256 *hash) noexcept
    void dtr_sha256_update(
        dtr_sha256 *hash, dtr_sha256_blocks *blocks, const uint8_t *data, size_t size
    ) noexcept
    void dtr_sha256_digest(
        const dtr_sha256 *hash, dtr_sha256_blocks *blocks, uint8_t *digest
    ) noexcept
