/* The parts of a search that levels 5 and 6 share. */
#ifndef DTR_KLAUSPOST_SEARCH_H
#define DTR_KLAUSPOST_SEARCH_H

#include "klauspost_match.h"

typedef struct {
    dtr_kp_tables *tables;
    const uint8_t *history;
    int32_t end, last; /* the chunk's end; the last position whose hashes are looked up */
    int32_t covered;   /* bytes before it belong to a sequence */
    int32_t at, next;  /* the position, and the one that follows if it has no match */
    int32_t source, length; /* the match at `at` */
    int32_t distance;       /* of the chunk's last match; level 6 only */
} search;

static inline int32_t length_at(const search *state, int32_t at, int32_t earlier)
{
    return dtr_kp_common_length(state->history, at, earlier, state->end);
}

static inline int is_match(const search *state, int32_t earlier, int32_t at, uint32_t bytes)
{
    return at - earlier < DTR_KP_WINDOW && dtr_kp_load4(state->history + earlier) == bytes;
}

static inline void insert_both(const search *state, int32_t at)
{
    dtr_kp_insert_four(state->tables, state->history, at);
    dtr_kp_insert_seven(state->tables, state->history, at);
}

static inline void set_match(search *state, int32_t at, int32_t source, int32_t length)
{
    state->at = at;
    state->source = source;
    state->length = length;
}

/* Takes the match at `at` if it is longer than that of the state. Lengths are compared up to the
 * longest of deflate. */
static inline int take_longer(search *state, int32_t at, int32_t source)
{
    if (at - source >= DTR_KP_WINDOW || state->length >= DTR_KP_LENGTH_MAX)
        return 0;
    const int32_t length = length_at(state, at, source);
    if (length <= state->length)
        return 0;
    set_match(state, at, source, length);
    return 1;
}

/* Takes the match of 4 bytes at `at`. */
static inline void take(search *state, int32_t at, int32_t source)
{
    set_match(state, at, source, length_at(state, at, source));
}

/* Chooses a match when that of 4 bytes at `at` is all that the tables have for `at`. */
typedef void take_match(search *state, int32_t at, int32_t source);

/* Finds the next match at or behind `at`. Returns 0 if the chunk has none. Each position without a
 * match makes the next step longer by one for each 2^skip_shift literals. */
static inline __attribute__((always_inline)) int find_match(search *state, int skip_shift,
                                                            take_match *take_of_four)
{
    state->next = state->at;
    for (;;) {
        const int32_t at = state->next;

        state->next = at + 1 + ((at - state->covered) >> skip_shift);
        if (state->next > state->last)
            return 0;
        const uint64_t bytes = dtr_kp_load8(state->history + at);
        int32_t *four = &state->tables->by_four[dtr_kp_hash_four((uint32_t)bytes)];
        dtr_kp_pair *seven = &state->tables->by_seven[dtr_kp_hash_seven(bytes)];
        const int32_t source = *four;
        const dtr_kp_pair pair = *seven;

        *four = at;
        *seven = dtr_kp_pair_with(pair, at);
        if (at - dtr_kp_recent(pair) < DTR_KP_WINDOW) {
            if (is_match(state, dtr_kp_recent(pair), at, (uint32_t)bytes)) {
                insert_both(state, state->next);
                take(state, at, dtr_kp_recent(pair));
                take_longer(state, at, dtr_kp_older(pair));
                return 1;
            }
            if (is_match(state, dtr_kp_older(pair), at, (uint32_t)bytes)) {
                insert_both(state, state->next);
                take(state, at, dtr_kp_older(pair));
                return 1;
            }
        }
        if (is_match(state, source, at, (uint32_t)bytes)) {
            take_of_four(state, at, source);
            return 1;
        }
    }
}

static inline void extend_backwards(search *state)
{
    const uint8_t *history = state->history;
    int32_t at = state->at, source = state->source;

    while (source > 0 && at > state->covered && history[source - 1] == history[at - 1]) {
        at--;
        source--;
    }
    state->length += state->at - at;
    state->at = at;
    state->source = source;
}

/* Appends the match, and moves on behind it. Returns 0 if the chunk has no room for another one. */
static inline int append_match(search *state, dtr_kp_matches *matches)
{
    dtr_kp_append(matches, state->at - state->covered, state->length, state->at - state->source);
    state->covered = state->at + state->length;
    /* The search never returns to a position that it has looked up. */
    state->at = state->next >= state->covered ? state->next + 1 : state->covered;
    return state->at < state->last;
}

static inline search search_begin(dtr_kp_tables *tables, const uint8_t *history, int32_t start,
                                  int32_t end)
{
    return (search){.tables = tables, .history = history, .end = end,
                    .last = end - DTR_KP_LOOKUP_MARGIN, .covered = start, .at = start,
                    .distance = 1};
}

#endif
