/* Huffman codes as the klauspost encoders choose them (docs/encoders.md, Klauspost). */
#ifndef DTR_KLAUSPOST_CODE_H
#define DTR_KLAUSPOST_CODE_H

#include <stdint.h>

#define DTR_KP_SYMBOLS_MAX 286

/* Sets the code lengths of `size` symbols from their counts; 0 for a symbol that does not occur.
 * No code is longer than `limit`. With `leaf_first` symbols win ties against merged pairs, as long
 * as the limit does not matter. */
void dtr_kp_code_lengths(const uint32_t *counts, unsigned size, unsigned limit, int leaf_first,
                         uint8_t *lengths);

#endif
