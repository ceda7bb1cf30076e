#include "deflate_bits.h"

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
        counts->literals[DTR_DEFLATE_FIRST_LENGTH + dtr_deflate_length_symbol(length)] +=
            lengths[length];
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
    const uint32_t *length_counts = counts->literals + DTR_DEFLATE_FIRST_LENGTH;
    uint64_t cost = 0;

    for (unsigned i = 0; i < DTR_DEFLATE_LITERALS; i++)
        cost += (uint64_t)counts->literals[i] * lengths->literal_lengths[i];
    for (unsigned i = 0; i < (DTR_DEFLATE_LITERALS - DTR_DEFLATE_FIRST_LENGTH); i++)
        cost += (uint64_t)length_counts[i] * dtr_deflate_length_extra(i);
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

static void pack_code(const dtr_deflate_lengths *lengths, dtr_packed_code *packed)
{
    uint16_t literals[sizeof lengths->literal_lengths], distances[DTR_DEFLATE_DISTANCES];

    dtr_deflate_codes(lengths->literal_lengths, sizeof lengths->literal_lengths, literals);
    dtr_deflate_codes(lengths->distance_lengths, DTR_DEFLATE_DISTANCES, distances);
    dtr_pack_code(packed, literals, lengths->literal_lengths, distances, lengths->distance_lengths);
}

void dtr_deflate_write(dtr_bits *bits, const dtr_deflate_lengths *lengths,
                       const dtr_deflate_tokens *tokens)
{
    const uint8_t *at = tokens->bytes;
    dtr_packed_code packed;
    dtr_bits writer = *bits; /* a copy can stay in registers */

    pack_code(lengths, &packed);
    for (size_t i = 0; i < tokens->sequence_count; i++) {
        const dtr_sequence *sequence = &tokens->sequences[i];

        dtr_put_literals(&writer, &packed, at, at + sequence->literal_count);
        dtr_put_match(&writer, &packed, sequence->length, sequence->distance);
        at += sequence->literal_count + sequence->length;
    }
    dtr_put_literals(&writer, &packed, at, tokens->bytes + tokens->size);
    dtr_put(&writer, packed.literals[DTR_DEFLATE_END]);
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
