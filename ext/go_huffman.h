/* Huffman codes as Go's deflate encoder makes them (docs/encoders.md, section 4.2). */
#ifndef DTR_GO_HUFFMAN_H
#define DTR_GO_HUFFMAN_H

#include <stdint.h>

/* The symbols of the largest alphabet, literals and lengths (RFC 1951, section 3.2.6). */
#define DTR_GO_SYMBOL_COUNT_MAX 288

/* The longest code of literals, lengths and distances (RFC 1951, section 3.2.7). */
#define DTR_GO_CODE_LENGTH_MAX 15

/* Sets the code length of each symbol: 0 for an unused one, at most `limit` for others. `size` is
 * at most DTR_GO_SYMBOL_COUNT_MAX, a count below 2^18, and `limit` is 15 or 7. */
void dtr_go_code_lengths(uint8_t *lengths, const uint32_t *counts, unsigned size, unsigned limit);

/* Sets the canonical codes (RFC 1951, section 3.2.2), with the bits reversed for a bit writer. */
void dtr_go_codes(uint16_t *codes, const uint8_t *lengths, unsigned size);

#endif
