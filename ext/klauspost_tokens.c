#include "klauspost_tokens.h"

#include "deflate_bits.h"
#include "klauspost_code.h"

/* The cost of a symbol is guessed from 1 to 15 bits. */
#define GUESS_MIN 1.0f
#define GUESS_MAX 15.0f

void dtr_kp_count_bytes(dtr_kp_counts *counts, const dtr_kp_chunk *chunk)
{
    memset(counts, 0, sizeof *counts);
    for (uint32_t i = 0; i < chunk->size; i++)
        counts->literals[chunk->bytes[i]]++;
    counts->literals[DTR_KP_END] = 1;
}

static void count_extras(dtr_kp_counts *counts)
{
    for (unsigned i = 0; i < DTR_KP_LITERAL_CODES - DTR_DEFLATE_FIRST_LENGTH; i++)
        counts->extra_size +=
            (uint64_t)counts->literals[DTR_DEFLATE_FIRST_LENGTH + i] * dtr_deflate_length_extra(i);
    for (unsigned i = 0; i < DTR_KP_DISTANCE_CODES; i++)
        counts->extra_size += (uint64_t)counts->distances[i] * dtr_deflate_distance_extra(i);
}

/* Counts the literals before a match, which has at least 4 bytes. The number of literals is hard to
 * predict and mostly below 4, so the first ones take no branch. */
static inline const uint8_t *count_run(dtr_kp_counts *counts, const uint8_t *at, uint32_t count)
{
    const uint8_t *end = at + count;

    counts->literals[at[0]] += count > 0;
    counts->literals[at[1]] += count > 1;
    counts->literals[at[2]] += count > 2;
    for (at += 3; at < end; at++)
        counts->literals[*at]++;
    return end;
}

void dtr_kp_count_tokens(dtr_kp_counts *counts, const dtr_kp_chunk *chunk,
                         const dtr_kp_matches *matches)
{
    uint32_t lengths[DTR_KP_LENGTH_MAX + 1] = {0};
    const uint8_t *at = chunk->bytes;

    memset(counts, 0, sizeof *counts);
    for (uint32_t i = 0; i < matches->count; i++) {
        const dtr_sequence sequence = matches->list[i];
        at = count_run(counts, at, sequence.literal_count);
        lengths[sequence.length]++;
        counts->distances[dtr_deflate_distance_symbol(sequence.distance)]++;
        at += sequence.length;
    }
    for (const uint8_t *end = chunk->bytes + chunk->size; at < end; at++)
        counts->literals[*at]++;
    for (unsigned length = DTR_KP_LENGTH_MIN; length <= DTR_KP_LENGTH_MAX; length++)
        counts->literals[DTR_DEFLATE_FIRST_LENGTH + dtr_deflate_length_symbol(length)] +=
            lengths[length];
    counts->match_count = matches->count;
    counts->token_count = matches->count + chunk->size - matches->matched;
    count_extras(counts);
}

uint64_t dtr_kp_cost(const dtr_kp_code *code, const dtr_kp_counts *counts)
{
    uint64_t cost = counts->extra_size;

    for (unsigned i = 0; i < DTR_KP_LITERAL_CODES; i++)
        cost += (uint64_t)counts->literals[i] * code->literal_lengths[i];
    for (unsigned i = 0; i < DTR_KP_DISTANCE_CODES; i++)
        cost += (uint64_t)counts->distances[i] * code->distance_lengths[i];
    return cost;
}

/* Keeps the compiler from joining a multiplication and an addition without rounding between. */
static float rounded(float value)
{
    volatile float stored = value;

    return stored;
}

/* The encoder's approximation of the binary logarithm of a positive number. */
static float logarithm(float value)
{
    uint32_t pattern, fraction;
    float mantissa, result;

    memcpy(&pattern, &value, 4);
    fraction = (pattern & ~(UINT32_C(255) << 23)) | UINT32_C(127) << 23;
    memcpy(&mantissa, &fraction, 4);
    result = rounded(rounded(-0.34484843f * mantissa) + 2.02466578f);
    result = rounded(rounded(result * mantissa) - 0.67487759f);
    return rounded((float)((int)(pattern >> 23 & 255) - 128) + result);
}

static float add_guess(float sum, uint32_t count, float inverse)
{
    float bits;

    if (count == 0)
        return sum;
    bits = -logarithm(rounded((float)count * inverse));
    bits = bits < GUESS_MIN ? GUESS_MIN : bits > GUESS_MAX ? GUESS_MAX : bits;
    return rounded(sum + rounded(bits * (float)count));
}

uint64_t dtr_kp_guess(const dtr_kp_counts *counts, int counts_end)
{
    const float token_inverse = 1.0f / (float)(counts->token_count + (counts_end ? 1 : 0));
    const float match_inverse = 1.0f / (float)counts->match_count;
    float sum = 0;

    for (unsigned i = 0; i < DTR_KP_END; i++)
        sum = add_guess(sum, counts->literals[i], token_inverse);
    sum = rounded(sum + GUESS_MAX); /* the end of the block */
    for (unsigned i = DTR_DEFLATE_FIRST_LENGTH; i < DTR_KP_LITERAL_CODES; i++)
        sum = add_guess(sum, counts->literals[i], token_inverse);
    for (unsigned i = 0; i < DTR_KP_DISTANCE_CODES; i++)
        sum = add_guess(sum, counts->distances[i], match_inverse);
    return (uint64_t)sum + counts->extra_size;
}

void dtr_kp_code_fixed(dtr_kp_code *code)
{
    const unsigned count = sizeof code->literal_lengths;

    for (unsigned i = 0; i < count; i++) /* RFC 1951, section 3.2.6 */
        code->literal_lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    memset(code->distance_lengths, 5, DTR_KP_DISTANCE_CODES);
    dtr_deflate_codes(code->literal_lengths, count, code->literals);
    dtr_deflate_codes(code->distance_lengths, DTR_KP_DISTANCE_CODES, code->distances);
}

static void pack_code(const dtr_kp_code *code, dtr_packed_code *packed)
{
    dtr_pack_code(packed, code->literals, code->literal_lengths, code->distances,
                  code->distance_lengths);
}

/* Puts the literals before a match, like count_run. A literal that is none has no bits. */
static inline void put_run(dtr_bits *bits, const dtr_packed_code *packed, const uint8_t *at,
                           uint32_t count)
{
    if (count > 3) {
        dtr_put_literals(bits, packed, at, at + count);
        return;
    }
    dtr_put(bits, packed->literals[at[0]] & -(uint32_t)(count > 0));
    dtr_put(bits, packed->literals[at[1]] & -(uint32_t)(count > 1));
    dtr_put(bits, packed->literals[at[2]] & -(uint32_t)(count > 2));
    dtr_bits_flush(bits);
}

void dtr_kp_write_bytes(dtr_bits *bits, const dtr_kp_code *code, const dtr_kp_chunk *chunk)
{
    dtr_packed_code packed;
    dtr_bits writer = *bits;

    pack_code(code, &packed);
    dtr_put_literals(&writer, &packed, chunk->bytes, chunk->bytes + chunk->size);
    *bits = writer;
}

void dtr_kp_write_tokens(dtr_bits *bits, const dtr_kp_code *code, const dtr_kp_chunk *chunk,
                         const dtr_kp_matches *matches)
{
    const uint8_t *at = chunk->bytes;
    dtr_packed_code packed;
    dtr_bits writer = *bits;

    pack_code(code, &packed);
    for (uint32_t i = 0; i < matches->count; i++) {
        const dtr_sequence *sequence = &matches->list[i];
        put_run(&writer, &packed, at, sequence->literal_count);
        dtr_put_match(&writer, &packed, sequence->length, sequence->distance);
        at += sequence->literal_count + sequence->length;
    }
    dtr_put_literals(&writer, &packed, at, chunk->bytes + chunk->size);
    *bits = writer;
}
