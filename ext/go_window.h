/* The candidates of matches, in the order in which Go's level default tries them (docs/encoders.md,
 * sections 2.1 and 2.2).
 *
 * Go keeps a chain of positions for each hash. Here, positions are sorted instead: by hash, and
 * equal hashes by position. So the candidates of a position stand side by side in front of it, the
 * nearest one last, and a search reads memory in order. Sorting 32 KiB together with the 32 KiB
 * before takes no longer than inserting them into chains, because the sort stays in the caches. */
#ifndef DTR_GO_WINDOW_H
#define DTR_GO_WINDOW_H

#include "go_match.h"

#include <stddef.h>
#include <stdint.h>

/* A hash has 17 bits: the digits of the sort are the low 9 bits and the high 8 bits. */
#define DTR_GO_LOW_COUNT 512
#define DTR_GO_HIGH_COUNT 256

#define DTR_GO_HALF_SIZE DTR_GO_DISTANCE_MAX

/* Half a window: as many positions as a match reaches back. They are in the order of the low digits
 * of their hashes. An entry is the hash above bit 15, and the offset of the position in this half
 * of the window. */
typedef struct {
    uint32_t entries[DTR_GO_HALF_SIZE];
    uint16_t low_ends[DTR_GO_LOW_COUNT]; /* where the entries with each low digit end */
    uint16_t high_counts[DTR_GO_HIGH_COUNT];
} dtr_go_half;

/* Up to 64 KiB. Positions are relative to the first byte of the older half. The newer half begins
 * behind it, at `newer_start`. */
typedef struct {
    uint16_t sorted[2 * DTR_GO_HALF_SIZE];
    uint16_t places[DTR_GO_HALF_SIZE]; /* of each position of the newer half in `sorted` */
    dtr_go_half halves[2], *older, *newer;
    size_t newer_start;
} dtr_go_window;

/* The hash is the upper 17 bits of the product. */
static inline uint32_t dtr_go_hash_product(const uint8_t *bytes)
{
    return __builtin_bswap32(dtr_go_load32(bytes)) * DTR_GO_HASH_FACTOR;
}

static inline uint32_t dtr_go_hash(const uint8_t *bytes)
{
    return dtr_go_hash_product(bytes) >> 15;
}

/* Fills the newer half with `size` positions, and leaves the older one empty. A hash reads four
 * bytes, so size + 3 bytes are read. */
void dtr_go_window_start(dtr_go_window *window, const uint8_t *plain, size_t size);

/* Makes the newer half the older one, and fills the newer one with the next positions. */
void dtr_go_window_append(dtr_go_window *window, const uint8_t *plain, size_t size);

#endif
