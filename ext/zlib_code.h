/* Huffman codes as zlib, gzip and pigz choose them (docs/encoders.md, zlib). */
#ifndef DTR_ZLIB_CODE_H
#define DTR_ZLIB_CODE_H

#include <stdint.h>

/* Sets the code lengths of `size` symbols from their counts, at most `limit`; 0 for a symbol
 * without a code. A code has at least two symbols, so symbols that do not occur may get one.
 * Returns the highest symbol with a code. */
unsigned dtr_zlib_code_lengths(const uint32_t *counts, unsigned size, unsigned limit,
                               uint8_t *lengths);

#endif
