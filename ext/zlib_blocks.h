/* Blocks of zlib, gzip and pigz: the choice of their form, and their bits (docs/encoders.md,
 * zlib). */
#ifndef DTR_ZLIB_BLOCKS_H
#define DTR_ZLIB_BLOCKS_H

#include "deflate_tokens.h"

/* Writes a block. It may be stored if `is_storable`. */
void dtr_zlib_write_block(dtr_bits *bits, const dtr_deflate_tokens *tokens, int is_storable,
                          int is_last);

/* Writes the end of a part: empty blocks up to the next byte, if bits are pending. */
void dtr_zlib_write_part_end(dtr_bits *bits);

#endif
