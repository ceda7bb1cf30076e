/* Tokens: literals and matches as symbols of deflate (RFC 1951, section 3.2.5), their counts, their
 * cost, and their bits. */
#ifndef DTR_KLAUSPOST_TOKENS_H
#define DTR_KLAUSPOST_TOKENS_H

#include "klauspost_blocks.h"

#define DTR_KP_END 256 /* the symbol at the end of a block */

typedef struct {
    uint32_t literals[DTR_KP_LITERAL_CODES], distances[DTR_KP_DISTANCE_CODES];
    uint32_t token_count; /* without the end of the block */
    uint32_t match_count;
    uint64_t extra_size; /* of all lengths and distances, in bits */
} dtr_kp_counts;

/* Counts the bytes of a chunk as literals, and one end of the block. */
void dtr_kp_count_bytes(dtr_kp_counts *counts, const dtr_kp_chunk *chunk);

/* Counts the tokens of a chunk, without the end of the block. */
void dtr_kp_count_tokens(dtr_kp_counts *counts, const dtr_kp_chunk *chunk,
                         const dtr_kp_matches *matches);

/* Returns the size of all counted symbols in bits. */
uint64_t dtr_kp_cost(const dtr_kp_code *code, const dtr_kp_counts *counts);

/* Returns the size in bits that the encoder expects with a code of its own, without the header. */
uint64_t dtr_kp_guess(const dtr_kp_counts *counts, int counts_end);

/* Sets the fixed code. */
void dtr_kp_code_fixed(dtr_kp_code *code);

void dtr_kp_write_bytes(dtr_bits *bits, const dtr_kp_code *code, const dtr_kp_chunk *chunk);
void dtr_kp_write_tokens(dtr_bits *bits, const dtr_kp_code *code, const dtr_kp_chunk *chunk,
                         const dtr_kp_matches *matches);

#endif
