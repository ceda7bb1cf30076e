/* The header of a dynamic block: its code lengths, run-length coded (RFC 1951, section 3.2.7). */
#ifndef DTR_ZLIB_HEADER_H
#define DTR_ZLIB_HEADER_H

#include "bit_writer.h"

/* The symbols of the code for lengths. */
#define DTR_ZLIB_HEADER_SYMBOLS 19

/* All literals, lengths and distances: each has at most one symbol of its own. */
#define DTR_ZLIB_HEADER_LENGTHS_MAX 316

typedef struct {
    unsigned literal_count, distance_count; /* lengths in the two lists */
    uint32_t size;                          /* of the header without its type, in bits */
    unsigned count;
    uint8_t symbols[DTR_ZLIB_HEADER_LENGTHS_MAX], extras[DTR_ZLIB_HEADER_LENGTHS_MAX];
    unsigned listed; /* lengths of the code for lengths in the header */
    uint8_t lengths[DTR_ZLIB_HEADER_SYMBOLS];
} dtr_zlib_header;

void dtr_zlib_header_plan(dtr_zlib_header *header, const uint8_t *literal_lengths,
                          unsigned literal_count, const uint8_t *distance_lengths,
                          unsigned distance_count);

void dtr_zlib_header_write(const dtr_zlib_header *header, dtr_bits *bits);

#endif
