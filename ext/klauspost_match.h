/* The matches of a chunk, and the tables that the search keeps from chunk to chunk
 * (docs/encoders.md, Klauspost). Positions count from the start of the history. */
#ifndef DTR_KLAUSPOST_MATCH_H
#define DTR_KLAUSPOST_MATCH_H

#include "deflate_tokens.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The encoder cuts its input into chunks of the largest size that a stored block can have. */
#define DTR_KP_CHUNK_SIZE 65535

/* Behind this size no search begins: a match needs 4 bytes, and lookups read up to 8 more. */
#define DTR_KP_SEARCH_SIZE_MIN 13
#define DTR_KP_LOOKUP_MARGIN 11

#define DTR_KP_TABLE_BITS 15
#define DTR_KP_TABLE_SIZE (1 << DTR_KP_TABLE_BITS)

/* Distances are below it. It is also the history that a search can see. */
#define DTR_KP_WINDOW 32768

#define DTR_KP_LENGTH_MIN 4
#define DTR_KP_LENGTH_MAX 258

/* An empty entry of a table. It is so low that it is out of reach of every position. */
#define DTR_KP_NONE (-(1 << 30))

/* Literals behind the last match are not listed. */
typedef struct {
    uint32_t count;
    uint32_t matched; /* bytes that the matches cover */
    dtr_sequence list[DTR_KP_CHUNK_SIZE / DTR_KP_LENGTH_MIN + 1];
} dtr_kp_matches;

/* The last two positions with one hash, the recent one below. One word is faster to update. */
typedef uint64_t dtr_kp_pair;

typedef struct {
    int32_t by_four[DTR_KP_TABLE_SIZE];      /* level 1 looks up 5 bytes here */
    dtr_kp_pair by_seven[DTR_KP_TABLE_SIZE]; /* not used by level 1 */
} dtr_kp_tables;

static inline int32_t dtr_kp_recent(dtr_kp_pair pair)
{
    return (int32_t)(uint32_t)pair;
}

static inline int32_t dtr_kp_older(dtr_kp_pair pair)
{
    return (int32_t)(uint32_t)(pair >> 32);
}

static inline dtr_kp_pair dtr_kp_pair_with(dtr_kp_pair pair, int32_t at)
{
    return pair << 32 | (uint32_t)at;
}

void dtr_kp_tables_clear(dtr_kp_tables *tables);

/* Searches the chunk from `start` to `end`, with all of the history before it. */
typedef void dtr_kp_search(dtr_kp_tables *tables, const uint8_t *history, int32_t start,
                           int32_t end, dtr_kp_matches *matches);

dtr_kp_search dtr_kp_search_level1, dtr_kp_search_level5, dtr_kp_search_level6;

static inline uint32_t dtr_kp_load4(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, 4); /* little-endian machines only, as the package */
    return value;
}

static inline uint64_t dtr_kp_load8(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, 8);
    return value;
}

/* The multipliers are part of the format: collisions decide which matches are found. */
static inline uint32_t dtr_kp_hash_four(uint32_t bytes)
{
    return bytes * 2654435761u >> (32 - DTR_KP_TABLE_BITS);
}

static inline uint32_t dtr_kp_hash_seven(uint64_t bytes)
{
    return (uint32_t)((bytes << 8) * 58295818150454627u >> (64 - DTR_KP_TABLE_BITS));
}

static inline uint32_t dtr_kp_hash_five(uint64_t bytes)
{
    return (uint32_t)((bytes << 24) * 889523592379u >> (64 - DTR_KP_TABLE_BITS));
}

static inline void dtr_kp_insert_four(dtr_kp_tables *tables, const uint8_t *history, int32_t at)
{
    tables->by_four[dtr_kp_hash_four(dtr_kp_load4(history + at))] = at;
}

static inline void dtr_kp_insert_seven(dtr_kp_tables *tables, const uint8_t *history, int32_t at)
{
    dtr_kp_pair *pair = &tables->by_seven[dtr_kp_hash_seven(dtr_kp_load8(history + at))];

    *pair = dtr_kp_pair_with(*pair, at);
}

/* Returns how many bytes from `at` on, before `end`, equal those from `earlier` on. */
static inline int32_t dtr_kp_common_length(const uint8_t *history, int32_t at, int32_t earlier,
                                           int32_t end)
{
    int32_t length = 0;

    while (end - at - length >= 8) {
        const uint64_t difference =
            dtr_kp_load8(history + at + length) ^ dtr_kp_load8(history + earlier + length);
        if (difference != 0)
            return length + (__builtin_ctzll(difference) >> 3);
        length += 8;
    }
    while (at + length < end && history[at + length] == history[earlier + length])
        length++;
    return length;
}

/* Appends literals and a match of any length, in pieces that deflate can express. No piece is
 * shorter than the shortest match: 259 is 255 + 4. */
static inline void dtr_kp_append(dtr_kp_matches *matches, int32_t literal_count, int32_t length,
                                 int32_t distance)
{
    matches->matched += (uint32_t)length;
    while (length > 0) {
        int32_t piece = length;

        if (length > DTR_KP_LENGTH_MAX) {
            const int32_t rest_min = DTR_KP_LENGTH_MIN - 1;
            piece = length > DTR_KP_LENGTH_MAX + rest_min ? DTR_KP_LENGTH_MAX
                                                          : DTR_KP_LENGTH_MAX - rest_min;
        }
        matches->list[matches->count++] =
            (dtr_sequence){(uint16_t)literal_count, (uint16_t)piece, (uint16_t)distance};
        literal_count = 0;
        length -= piece;
    }
}

#endif
