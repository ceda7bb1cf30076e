/* Functions on matches for both levels of Go's deflate encoder. */
#ifndef DTR_GO_MATCH_H
#define DTR_GO_MATCH_H

#include <stdint.h>
#include <string.h>

/* Limits of deflate (RFC 1951, section 3.2.5). */
#define DTR_GO_DISTANCE_MAX 32768
#define DTR_GO_LENGTH_MAX 258

/* The multiplier of both hashes. */
#define DTR_GO_HASH_FACTOR 0x1e35a7bdu

static inline uint32_t dtr_go_load32(const uint8_t *bytes)
{
    uint32_t value;

    memcpy(&value, bytes, 4); /* little-endian machines only, as the package */
    return value;
}

static inline uint64_t dtr_go_load64(const uint8_t *bytes)
{
    uint64_t value;

    memcpy(&value, bytes, 8);
    return value;
}

/* Returns the number of equal bytes at both places, at most `limit`. */
static inline uint32_t dtr_go_match_length(const uint8_t *a, const uint8_t *b, uint32_t limit)
{
    uint32_t length = 0;

    for (; length + 8 <= limit; length += 8) {
        const uint64_t difference = dtr_go_load64(a + length) ^ dtr_go_load64(b + length);

        if (difference != 0)
            return length + ((uint32_t)__builtin_ctzll(difference) >> 3);
    }
    while (length < limit && a[length] == b[length])
        length++;
    return length;
}

#endif
