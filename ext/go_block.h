/* Blocks of Go's deflate encoder: the choice of their form, and their bits
 * (docs/encoders.md, section 4). */
#ifndef DTR_GO_BLOCK_H
#define DTR_GO_BLOCK_H

#include "bit_writer.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A token is a literal or a match, from the lowest bit:
 *
 *     9 bits   the unit: the byte of a literal, or 253 + the length of a match (3 .. 258)
 *     13 bits  the extra bits of the distance
 *     5 bits   the symbol of the distance, or DTR_GO_NO_DISTANCE
 *
 * So the writer needs no branch: it looks up the unit and the symbol of every token. */
#define DTR_GO_NO_DISTANCE 31
#define DTR_GO_UNIT_BITS 9
#define DTR_GO_UNIT_COUNT 512
#define DTR_GO_SYMBOL_SHIFT 22

/* The most bytes of a stored block (RFC 1951, section 3.2.4). */
#define DTR_GO_STORED_SIZE_MAX 65535

/* The tokens of one block, and how often each unit and each distance symbol occurs in them. */
typedef struct {
    uint32_t *tokens;
    size_t size;
    uint32_t units[DTR_GO_UNIT_COUNT], distances[32];
} dtr_go_tokens;

static inline void dtr_go_tokens_clear(dtr_go_tokens *tokens)
{
    tokens->size = 0;
    memset(tokens->units, 0, sizeof tokens->units);
    memset(tokens->distances, 0, sizeof tokens->distances);
}

static inline void dtr_go_add_literal(dtr_go_tokens *tokens, uint8_t byte)
{
    tokens->tokens[tokens->size++] = byte | (uint32_t)DTR_GO_NO_DISTANCE << DTR_GO_SYMBOL_SHIFT;
    tokens->units[byte]++;
}

static inline void dtr_go_add_match(dtr_go_tokens *tokens, uint32_t length, uint32_t distance)
{
    const uint32_t unit = 253 + length, before = distance - 1;
    /* Distance symbols come in pairs, and each pair has one extra bit more than the pair before;
     * the first two pairs have none. */
    const uint32_t extra = 30 - (uint32_t)__builtin_clz(before | 2);
    const uint32_t symbol = 2 * extra + (before >> extra);
    const uint32_t bits = before & ((1u << extra) - 1);

    tokens->tokens[tokens->size++] =
        unit | bits << DTR_GO_UNIT_BITS | symbol << DTR_GO_SYMBOL_SHIFT;
    tokens->units[unit]++;
    tokens->distances[symbol]++;
}

/* Writes the block of level default. The block may be stored if `is_storable`. */
void dtr_go_write_smallest(dtr_bits *writer, const dtr_go_tokens *tokens, const uint8_t *plain,
                           size_t size, int is_storable);

/* Writes the block of level best-speed: dynamic or stored. */
void dtr_go_write_dynamic_or_stored(dtr_bits *writer, const dtr_go_tokens *tokens,
                                    const uint8_t *plain, size_t size);

/* Writes a stored block of at most DTR_GO_STORED_SIZE_MAX bytes. */
void dtr_go_write_stored(dtr_bits *writer, const uint8_t *plain, size_t size);

/* Writes the empty block that ends the stream, and aligns to a byte. */
void dtr_go_write_end(dtr_bits *writer);

#endif
