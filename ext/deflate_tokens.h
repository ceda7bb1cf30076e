/* Terms of the deflate format that all encoders share: tokens, their counts, codes, cost and bits
 * (RFC 1951, section 3.2). */
#ifndef DTR_DEFLATE_TOKENS_H
#define DTR_DEFLATE_TOKENS_H

#include "bit_writer.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Limits and alphabets of the format. */
#define DTR_DEFLATE_LENGTH_MIN 3
#define DTR_DEFLATE_LENGTH_MAX 258
#define DTR_DEFLATE_LITERALS 286 /* literals, the end of the block, and lengths */
#define DTR_DEFLATE_END 256
#define DTR_DEFLATE_DISTANCES 30
#define DTR_DEFLATE_CODE_LENGTH_MAX 15

enum { DTR_DEFLATE_STORED, DTR_DEFLATE_FIXED, DTR_DEFLATE_DYNAMIC };

/* Literals, and the match behind them. */
typedef struct {
    uint16_t literal_count, length, distance;
} dtr_sequence;

/* The tokens of a block. Bytes behind the last match are literals. */
typedef struct {
    const uint8_t *bytes; /* the plain bytes of the block */
    size_t size;
    const dtr_sequence *sequences;
    size_t sequence_count;
} dtr_deflate_tokens;

typedef struct {
    uint32_t literals[DTR_DEFLATE_LITERALS], distances[DTR_DEFLATE_DISTANCES];
} dtr_deflate_counts;

typedef struct {
    /* The fixed code has two more symbols, which no stream uses. */
    uint8_t literal_lengths[DTR_DEFLATE_LITERALS + 2], distance_lengths[DTR_DEFLATE_DISTANCES];
} dtr_deflate_lengths;

/* Counts the symbols of a block, the end of the block included. */
void dtr_deflate_count(dtr_deflate_counts *counts, const dtr_deflate_tokens *tokens);

/* Sets the lengths of the fixed code. */
void dtr_deflate_fixed(dtr_deflate_lengths *lengths);

/* Returns the size in bits of all counted symbols, with their extra bits. */
uint64_t dtr_deflate_cost(const dtr_deflate_lengths *lengths, const dtr_deflate_counts *counts);

/* Sets the canonical codes of `count` symbols, with the first bit lowest. */
void dtr_deflate_codes(const uint8_t *lengths, unsigned count, uint16_t *codes);

/* Writes the tokens and the end of the block. */
void dtr_deflate_write(dtr_bits *bits, const dtr_deflate_lengths *lengths,
                       const dtr_deflate_tokens *tokens);

/* Writes a stored block of at most 65535 bytes. */
void dtr_deflate_write_stored(dtr_bits *bits, int is_last, const uint8_t *bytes, size_t size);

/* Returns the extra bits of a distance's symbol. */
static inline unsigned dtr_deflate_distance_extra(unsigned symbol)
{
    return symbol < 4 ? 0 : symbol / 2 - 1;
}

static inline unsigned dtr_deflate_distance_symbol(unsigned distance)
{
    const unsigned value = distance - 1;

    if (value < 2)
        return value;
    const unsigned exponent = 31 - (unsigned)__builtin_clz(value);
    return 2 * exponent + (value >> (exponent - 1) & 1);
}

static inline uint32_t dtr_load4(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, 4); /* little-endian machines only, as the package */
    return value;
}

static inline uint64_t dtr_load8(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, 8);
    return value;
}

#endif
