/* The header of a dynamic block: its code lengths, run-length coded (RFC 1951, 3.2.7). */
#ifndef DTR_KLAUSPOST_HEADER_H
#define DTR_KLAUSPOST_HEADER_H

#include "bit_writer.h"

#define DTR_KP_HEADER_LENGTHS_MAX 316
#define DTR_KP_HEADER_SYMBOLS 19

typedef struct {
    unsigned literal_count, distance_count;
    uint32_t size; /* in bits */
    /* Symbols of the code for lengths, and the values of their extra bits. */
    unsigned count;
    uint8_t symbols[DTR_KP_HEADER_LENGTHS_MAX], extras[DTR_KP_HEADER_LENGTHS_MAX];
    unsigned listed; /* lengths of that code in the header */
    uint8_t lengths[DTR_KP_HEADER_SYMBOLS];
} dtr_kp_header;

void dtr_kp_header_plan(dtr_kp_header *header, const uint8_t *literal_lengths,
                        unsigned literal_count, const uint8_t *distance_lengths,
                        unsigned distance_count, int prefers_leaves);

void dtr_kp_header_write(const dtr_kp_header *header, dtr_bits *bits);

#endif
