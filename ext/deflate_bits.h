/* The bits of a deflate block: a code packed for lookup, literals and matches (RFC 1951, section
 * 3.2.5). */
#ifndef DTR_DEFLATE_BITS_H
#define DTR_DEFLATE_BITS_H

#include "deflate_tokens.h"

#define DTR_DEFLATE_FIRST_LENGTH 257 /* the symbol of the shortest match */

/* The symbol of the length 258, which RFC 1951 lists on its own, though 227 + 31 would fit. */
#define DTR_DEFLATE_LONGEST (DTR_DEFLATE_LITERALS - DTR_DEFLATE_FIRST_LENGTH - 1)

/* A symbol's bits below, their number from bit 24 on: code and extra bits of a length have at most
 * 20 bits. */
typedef struct {
    uint32_t literals[DTR_DEFLATE_END + 1];
    uint32_t lengths[DTR_DEFLATE_LENGTH_MAX + 1];
    uint32_t distances[DTR_DEFLATE_DISTANCES];
} dtr_packed_code;

#define DTR_PACKED_SIZE_SHIFT 24
#define DTR_PACKED_BITS 0xffffffu

/* Counts from the first symbol of a length. */
static inline unsigned dtr_deflate_length_symbol(unsigned length)
{
    const unsigned value = length - DTR_DEFLATE_LENGTH_MIN;

    if (value < 8)
        return value;
    if (length == DTR_DEFLATE_LENGTH_MAX)
        return DTR_DEFLATE_LONGEST;
    const unsigned exponent = 31 - (unsigned)__builtin_clz(value);
    return 4 * (exponent - 1) + (value >> (exponent - 2) & 3);
}

/* Returns the extra bits of a length's symbol, which counts from the first one. */
static inline unsigned dtr_deflate_length_extra(unsigned symbol)
{
    return symbol < 8 || symbol == DTR_DEFLATE_LONGEST ? 0 : symbol / 4 - 1;
}

static inline uint32_t dtr_pack(uint32_t bits, unsigned size)
{
    return bits | (uint32_t)size << DTR_PACKED_SIZE_SHIFT;
}

/* Packs a code: its bits for each symbol, and their number. */
static inline void dtr_pack_code(dtr_packed_code *packed, const uint16_t *literals,
                                 const uint8_t *literal_lengths, const uint16_t *distances,
                                 const uint8_t *distance_lengths)
{
    for (unsigned i = 0; i <= DTR_DEFLATE_END; i++)
        packed->literals[i] = dtr_pack(literals[i], literal_lengths[i]);
    for (unsigned length = DTR_DEFLATE_LENGTH_MIN; length <= DTR_DEFLATE_LENGTH_MAX; length++) {
        const unsigned symbol = dtr_deflate_length_symbol(length);
        const unsigned extra_size = dtr_deflate_length_extra(symbol);
        const unsigned size = literal_lengths[DTR_DEFLATE_FIRST_LENGTH + symbol];
        const uint32_t extra = (length - DTR_DEFLATE_LENGTH_MIN) & ((1u << extra_size) - 1);
        packed->lengths[length] = dtr_pack(
            literals[DTR_DEFLATE_FIRST_LENGTH + symbol] | extra << size, size + extra_size);
    }
    for (unsigned i = 0; i < DTR_DEFLATE_DISTANCES; i++)
        packed->distances[i] = dtr_pack(distances[i], distance_lengths[i]);
}

static inline void dtr_put(dtr_bits *bits, uint32_t packed)
{
    dtr_bits_put(bits, packed & DTR_PACKED_BITS, packed >> DTR_PACKED_SIZE_SHIFT);
}

/* Three literals and the 7 pending bits fit into the writer. */
static inline void dtr_put_literals(dtr_bits *bits, const dtr_packed_code *packed,
                                    const uint8_t *at, const uint8_t *end)
{
    for (; end - at >= 3; at += 3) {
        dtr_put(bits, packed->literals[at[0]]);
        dtr_put(bits, packed->literals[at[1]]);
        dtr_put(bits, packed->literals[at[2]]);
        dtr_bits_flush(bits);
    }
    if (at == end)
        return;
    dtr_put(bits, packed->literals[at[0]]);
    if (end - at == 2)
        dtr_put(bits, packed->literals[at[1]]);
    dtr_bits_flush(bits);
}

/* A match has at most 48 bits. */
static inline void dtr_put_match(dtr_bits *bits, const dtr_packed_code *packed, unsigned length,
                                 unsigned distance)
{
    const unsigned symbol = dtr_deflate_distance_symbol(distance);
    const unsigned extra_size = dtr_deflate_distance_extra(symbol);

    dtr_put(bits, packed->lengths[length]);
    dtr_put(bits, packed->distances[symbol]);
    dtr_bits_put(bits, (distance - 1u) & ((1u << extra_size) - 1), extra_size);
    dtr_bits_flush(bits);
}

#endif
