#include "deflate_tokens.h"

#define FIRST_LENGTH_SYMBOL 257
#define LENGTH_SYMBOLS (DTR_DEFLATE_LITERALS - FIRST_LENGTH_SYMBOL)

/* The symbol of the length 258, which RFC 1951 lists on its own, though 227 + 31 would fit. */
#define LONGEST_SYMBOL (LENGTH_SYMBOLS - 1)

/* A symbol's bits below, their number from bit 24 on: code and extra bits of a length have at most
 * 20 bits. */
typedef struct {
    uint32_t literals[DTR_DEFLATE_END + 1];
    uint32_t lengths[DTR_DEFLATE_LENGTH_MAX + 1];
    uint32_t distances[DTR_DEFLATE_DISTANCES];
} packed_code;

#define PACKED_SIZE_SHIFT 24
#define PACKED_BITS 0xffffffu

/* Counts from the first symbol of a length. */
static unsigned length_symbol(unsigned length)
{
    const unsigned value = length - DTR_DEFLATE_LENGTH_MIN;

    if (value < 8)
        return value;
    if (length == DTR_DEFLATE_LENGTH_MAX)
        return LONGEST_SYMBOL;
    const unsigned exponent = 31 - (unsigned)__builtin_clz(value);
    return 4 * (exponent - 1) + (value >> (exponent - 2) & 3);
}

static unsigned length_extra(unsigned symbol)
{
    return symbol < 8 || symbol == LONGEST_SYMBOL ? 0 : symbol / 4 - 1;
}

void dtr_deflate_count(dtr_deflate_counts *counts, const dtr_deflate_tokens *tokens)
{
    uint32_t lengths[DTR_DEFLATE_LENGTH_MAX + 1] = {0};
    const uint8_t *at = tokens->bytes, *const bytes_end = at + tokens->size;

    memset(counts, 0, sizeof *counts);
    for (size_t i = 0; i < tokens->sequence_count; i++) {
        const dtr_sequence sequence = tokens->sequences[i];

        for (const uint8_t *end = at + sequence.literal_count; at < end; at++)
            counts->literals[*at]++;
        lengths[sequence.length]++;
        counts->distances[dtr_deflate_distance_symbol(sequence.distance)]++;
        at += sequence.length;
    }
    for (; at < bytes_end; at++)
        counts->literals[*at]++;
    for (unsigned length = DTR_DEFLATE_LENGTH_MIN; length <= DTR_DEFLATE_LENGTH_MAX; length++)
        counts->literals[FIRST_LENGTH_SYMBOL + length_symbol(length)] += lengths[length];
    counts->literals[DTR_DEFLATE_END] = 1;
}

void dtr_deflate_fixed(dtr_deflate_lengths *lengths)
{
    for (unsigned i = 0; i < sizeof lengths->literal_lengths; i++) /* RFC 1951, section 3.2.6 */
        lengths->literal_lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    memset(lengths->distance_lengths, 5, sizeof lengths->distance_lengths);
}

uint64_t dtr_deflate_cost(const dtr_deflate_lengths *lengths, const dtr_deflate_counts *counts)
{
    const uint32_t *length_counts = counts->literals + FIRST_LENGTH_SYMBOL;
    uint64_t cost = 0;

    for (unsigned i = 0; i < DTR_DEFLATE_LITERALS; i++)
        cost += (uint64_t)counts->literals[i] * lengths->literal_lengths[i];
    for (unsigned i = 0; i < LENGTH_SYMBOLS; i++)
        cost += (uint64_t)length_counts[i] * length_extra(i);
    for (unsigned i = 0; i < DTR_DEFLATE_DISTANCES; i++)
        cost += (uint64_t)counts->distances[i] *
                (lengths->distance_lengths[i] + dtr_deflate_distance_extra(i));
    return cost;
}

static uint16_t reverse(uint16_t code, unsigned length)
{
    uint16_t reversed = 0;

    for (unsigned i = 0; i < length; i++)
        reversed |= (uint16_t)((code >> i & 1) << (length - 1 - i));
    return reversed;
}

void dtr_deflate_codes(const uint8_t *lengths, unsigned count, uint16_t *codes)
{
    uint16_t next[DTR_DEFLATE_CODE_LENGTH_MAX + 1] = {0};
    uint16_t counts[DTR_DEFLATE_CODE_LENGTH_MAX + 1] = {0};

    for (unsigned i = 0; i < count; i++)
        counts[lengths[i]]++;
    for (unsigned length = 2; length <= DTR_DEFLATE_CODE_LENGTH_MAX; length++)
        next[length] = (uint16_t)((next[length - 1] + counts[length - 1]) << 1);
    for (unsigned i = 0; i < count; i++)
        codes[i] = lengths[i] == 0 ? 0 : reverse(next[lengths[i]]++, lengths[i]);
}

static uint32_t pack(uint32_t bits, unsigned size)
{
    return bits | (uint32_t)size << PACKED_SIZE_SHIFT;
}

static void pack_code(const dtr_deflate_lengths *lengths, packed_code *packed)
{
    uint16_t literals[sizeof lengths->literal_lengths], distances[DTR_DEFLATE_DISTANCES];

    dtr_deflate_codes(lengths->literal_lengths, sizeof lengths->literal_lengths, literals);
    dtr_deflate_codes(lengths->distance_lengths, DTR_DEFLATE_DISTANCES, distances);
    for (unsigned i = 0; i <= DTR_DEFLATE_END; i++)
        packed->literals[i] = pack(literals[i], lengths->literal_lengths[i]);
    for (unsigned length = DTR_DEFLATE_LENGTH_MIN; length <= DTR_DEFLATE_LENGTH_MAX; length++) {
        const unsigned symbol = length_symbol(length), extra_size = length_extra(symbol);
        const unsigned size = lengths->literal_lengths[FIRST_LENGTH_SYMBOL + symbol];
        const uint32_t extra = (length - DTR_DEFLATE_LENGTH_MIN) & ((1u << extra_size) - 1);
        packed->lengths[length] =
            pack(literals[FIRST_LENGTH_SYMBOL + symbol] | extra << size, size + extra_size);
    }
    for (unsigned i = 0; i < DTR_DEFLATE_DISTANCES; i++)
        packed->distances[i] = pack(distances[i], lengths->distance_lengths[i]);
}

static inline void put(dtr_bits *bits, uint32_t packed)
{
    dtr_bits_put(bits, packed & PACKED_BITS, packed >> PACKED_SIZE_SHIFT);
}

/* Three literals and the 7 pending bits fit into the writer. */
static inline void put_literals(dtr_bits *bits, const packed_code *packed, const uint8_t *at,
                                const uint8_t *end)
{
    for (; end - at >= 3; at += 3) {
        put(bits, packed->literals[at[0]]);
        put(bits, packed->literals[at[1]]);
        put(bits, packed->literals[at[2]]);
        dtr_bits_flush(bits);
    }
    if (at == end)
        return;
    put(bits, packed->literals[at[0]]);
    if (end - at == 2)
        put(bits, packed->literals[at[1]]);
    dtr_bits_flush(bits);
}

/* A match has at most 48 bits. */
static inline void put_match(dtr_bits *bits, const packed_code *packed,
                             const dtr_sequence *sequence)
{
    const unsigned symbol = dtr_deflate_distance_symbol(sequence->distance);
    const unsigned extra_size = dtr_deflate_distance_extra(symbol);

    put(bits, packed->lengths[sequence->length]);
    put(bits, packed->distances[symbol]);
    dtr_bits_put(bits, (sequence->distance - 1u) & ((1u << extra_size) - 1), extra_size);
    dtr_bits_flush(bits);
}

void dtr_deflate_write(dtr_bits *bits, const dtr_deflate_lengths *lengths,
                       const dtr_deflate_tokens *tokens)
{
    const uint8_t *at = tokens->bytes;
    packed_code packed;
    dtr_bits writer = *bits; /* a copy can stay in registers */

    pack_code(lengths, &packed);
    for (size_t i = 0; i < tokens->sequence_count; i++) {
        const dtr_sequence *sequence = &tokens->sequences[i];

        put_literals(&writer, &packed, at, at + sequence->literal_count);
        put_match(&writer, &packed, sequence);
        at += sequence->literal_count + sequence->length;
    }
    put_literals(&writer, &packed, at, tokens->bytes + tokens->size);
    put(&writer, packed.literals[DTR_DEFLATE_END]);
    dtr_bits_flush(&writer);
    *bits = writer;
}

void dtr_deflate_write_stored(dtr_bits *bits, int is_last, const uint8_t *bytes, size_t size)
{
    dtr_bits_put(bits, (uint64_t)is_last | DTR_DEFLATE_STORED << 1, 3);
    dtr_bits_align(bits);
    dtr_bits_put(bits, size | (uint64_t)(size ^ 0xffff) << 16, 32);
    dtr_bits_flush(bits);
    dtr_bits_bytes(bits, bytes, size);
}
