/* The search of zlib, gzip and pigz at level 6 (docs/encoders.md, zlib).
 *
 * These encoders follow chains of positions with equal hash. This one has all plain bytes at hand,
 * so it sorts the positions of 32 KiB at a time by their hash. Then the candidates of a search lie
 * side by side, nearest last, and no load waits for the one before. */
#ifndef DTR_ZLIB_MATCH_H
#define DTR_ZLIB_MATCH_H

#include "deflate_tokens.h"

/* The window moves in steps of this size. Positions are sorted in blocks of it, at its multiples,
 * so that two blocks have all candidates. */
#define DTR_ZLIB_WINDOW_STEP 32768

#define DTR_ZLIB_DISTANCE_MAX 32506

/* Level 6: the tries of a search, fewer if the match before is good. A match of the lazy length is
 * taken without a search, and a nice one ends a search. */
#define DTR_ZLIB_TRIES 128
#define DTR_ZLIB_TRIES_GOOD 32
#define DTR_ZLIB_GOOD 8
#define DTR_ZLIB_LAZY 16
#define DTR_ZLIB_NICE 128

#define DTR_ZLIB_HASH_BITS 15
#define DTR_ZLIB_HASHES (1 << DTR_ZLIB_HASH_BITS)

/* The sorted positions of a block, from the start of the block on. */
typedef struct {
    uint16_t starts[DTR_ZLIB_HASHES + 1]; /* the first entry of each hash */
    uint16_t positions[DTR_ZLIB_WINDOW_STEP];
} dtr_zlib_sorted;

typedef struct {
    dtr_zlib_sorted sorted[2];
    int current;                            /* the block of the step; the other is before it */
    uint16_t entries[DTR_ZLIB_WINDOW_STEP]; /* the entry of each position of the current block */
    uint16_t hashes[DTR_ZLIB_WINDOW_STEP];  /* and its hash */
} dtr_zlib_index;

/* Makes the block before the current one, and sorts another as current. `bytes` has the positions
 * from `first` on, `count` of them, and two bytes more. */
void dtr_zlib_index_block(dtr_zlib_index *index, const uint8_t *bytes, uint32_t first,
                          uint32_t count);

/* A length of 2 means that there is no match. */
typedef struct {
    uint32_t length, distance;
} dtr_zlib_match;

#define DTR_ZLIB_NO_MATCH ((dtr_zlib_match){2, 0})

/* The hash is part of the format: collisions count as tries. Of the first byte, 5 bits count. */
static inline uint32_t dtr_zlib_hash(const uint8_t *here)
{
    return (uint32_t)(here[0] << 10 ^ here[1] << 5 ^ here[2]) & (DTR_ZLIB_HASHES - 1);
}

/* Returns the number of equal bytes, at most `length_max`. Reads up to 7 bytes more. */
static inline uint32_t dtr_zlib_common(const uint8_t *here, const uint8_t *earlier,
                                       uint32_t length_max)
{
    for (uint32_t length = 0; length < length_max; length += 8) {
        const uint64_t difference = dtr_load8(here + length) ^ dtr_load8(earlier + length);

        if (difference != 0) {
            length += (uint32_t)__builtin_ctzll(difference) >> 3;
            return length < length_max ? length : length_max;
        }
    }
    return length_max;
}

/* The candidates of a search. */
typedef struct {
    const uint16_t *next, *stop; /* behind the next candidate; the last one in this block */
    uint32_t at;                 /* the position of the search, from the start of the block on */
    const uint16_t *older_next, *older_stop; /* those of the block before */
    uint32_t reach;    /* the largest distance */
    uint32_t distance; /* of the candidate that was found last */
} dtr_zlib_walk;

/* Goes to the block before. Returns 0 if it has no candidates. */
static inline int dtr_zlib_walk_back(dtr_zlib_walk *walk)
{
    walk->next = walk->older_next;
    walk->stop = walk->older_stop;
    walk->at += DTR_ZLIB_WINDOW_STEP;
    walk->older_next = walk->older_stop;
    return walk->next > walk->stop;
}

/* Goes to the next candidate whose four bytes, shifted left, are those at `place`. Candidates out of
 * reach can be read too, and come last: so their distance matters only here. */
static inline int dtr_zlib_walk_to(dtr_zlib_walk *walk, const uint8_t *place, unsigned shift)
{
    const uint32_t bytes = dtr_load4(place) << shift;

    do {
        while (walk->next > walk->stop) {
            const uint32_t distance = walk->at - *--walk->next;

            if (dtr_load4(place - distance) << shift == bytes) {
                walk->distance = distance;
                return distance <= walk->reach;
            }
        }
    } while (dtr_zlib_walk_back(walk));
    return 0;
}

/* Lists the candidates of the position `at` of the current block. */
static inline dtr_zlib_walk dtr_zlib_candidates(const dtr_zlib_index *index, uint32_t at,
                                                uint32_t tries)
{
    const dtr_zlib_sorted *current = &index->sorted[index->current];
    const dtr_zlib_sorted *before = &index->sorted[1 - index->current];
    /* Not the hash of the bytes that are there now: if they have changed, the candidates would be
     * outside of the arrays. */
    const uint32_t hash = index->hashes[at], entry = index->entries[at];
    const uint32_t start = current->starts[hash], older_end = before->starts[hash + 1];
    const uint32_t count = entry - start < tries ? entry - start : tries;
    const uint32_t older = older_end - before->starts[hash];
    const uint32_t older_count = older < tries - count ? older : tries - count;
    const uint16_t *next = current->positions + entry, *older_next = before->positions + older_end;

    return (dtr_zlib_walk){.next = next, .stop = next - count, .at = at,
                           .older_next = older_next, .older_stop = older_next - older_count};
}

/* Searches a match that is longer than `previous`, which is 2 or a match's length. */
static inline dtr_zlib_match dtr_zlib_search(dtr_zlib_walk walk, const uint8_t *here,
                                             uint32_t previous, uint32_t length_max, uint32_t nice)
{
    dtr_zlib_match match = DTR_ZLIB_NO_MATCH;
    uint32_t best = previous;

    if (best < DTR_DEFLATE_LENGTH_MIN) {
        if (!dtr_zlib_walk_to(&walk, here, 8)) /* three bytes */
            return match;
        best = dtr_zlib_common(here, here - walk.distance, length_max);
        match = (dtr_zlib_match){best, walk.distance};
        if (best >= nice)
            return match;
    }
    /* A longer match has these four bytes in common. */
    while (dtr_zlib_walk_to(&walk, here + best - 3, 0)) {
        const uint32_t length = dtr_zlib_common(here, here - walk.distance, length_max);

        if (length <= best)
            continue;
        best = length;
        match = (dtr_zlib_match){length, walk.distance};
        if (length >= nice)
            break;
    }
    return match;
}

#endif
