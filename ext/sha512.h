/* SHA-512 (FIPS 180-4) over byte buffers. The same functions as in sha256.h, with one kernel. */
#ifndef DTR_SHA512_H
#define DTR_SHA512_H

#include <stddef.h>
#include <stdint.h>

#define DTR_SHA512_BLOCK_SIZE 128
#define DTR_SHA512_DIGEST_SIZE 64

/* The first size % 128 bytes of `block` are an incomplete block. */
typedef struct {
    uint64_t size;
    uint64_t words[8];
    uint8_t block[DTR_SHA512_BLOCK_SIZE];
} dtr_sha512;

void dtr_sha512_init(dtr_sha512 *hash);
void dtr_sha512_update(dtr_sha512 *hash, const uint8_t *data, size_t size);
/* Pads a copy, so that `hash` can be continued. */
void dtr_sha512_digest(const dtr_sha512 *hash, uint8_t digest[DTR_SHA512_DIGEST_SIZE]);

#endif
