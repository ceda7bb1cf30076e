/* Writes bits into bytes, the lowest bit first (RFC 1951, section 3.1.1). */
#ifndef DTR_BIT_WRITER_H
#define DTR_BIT_WRITER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Words are read and written as they are in memory. */
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the encoders need a little-endian machine"
#endif

typedef struct {
    uint8_t *at, *end;  /* the next byte, and the end of the room */
    uint64_t bits;      /* bits that are not in a byte yet; those above `count` are zero */
    unsigned count;     /* below 8 after dtr_bits_flush */
    int is_full;        /* a byte had no room, so the bytes that were written are void */
} dtr_bits;

/* Moves whole bytes out, so that fewer than 8 bits are pending. */
static inline void dtr_bits_flush(dtr_bits *writer)
{
    const unsigned bytes = writer->count >> 3;

    if ((size_t)(writer->end - writer->at) >= 8) {
        const uint64_t bits = writer->bits; /* little-endian machines only, as the package */

        memcpy(writer->at, &bits, 8);
        writer->at += bytes;
    } else if ((size_t)(writer->end - writer->at) >= bytes) {
        for (unsigned i = 0; i < bytes; i++)
            *writer->at++ = (uint8_t)(writer->bits >> (8 * i));
    } else {
        writer->is_full = 1;
    }
    writer->bits = bytes == 8 ? 0 : writer->bits >> (8 * bytes);
    writer->count &= 7;
}

/* Appends the `count` lowest bits of `value`, whose higher bits are zero. At most 56 bits may be
 * pending before a flush. */
static inline void dtr_bits_put(dtr_bits *writer, uint64_t value, unsigned count)
{
    writer->bits |= value << writer->count;
    writer->count += count;
}

/* Appends zeros up to the next byte, and moves all bytes out. */
static inline void dtr_bits_align(dtr_bits *writer)
{
    writer->count = (writer->count + 7) & ~7u;
    dtr_bits_flush(writer);
}

/* Appends whole bytes. The writer must be aligned and flushed. */
static inline void dtr_bits_bytes(dtr_bits *writer, const uint8_t *data, size_t size)
{
    if ((size_t)(writer->end - writer->at) < size) {
        writer->is_full = 1;
        return;
    }
    memcpy(writer->at, data, size);
    writer->at += size;
}

#endif
