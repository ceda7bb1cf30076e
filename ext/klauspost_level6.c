/* The search of level 6: the tables of level 5, and looks at more candidates. */
#include "klauspost_search.h"

#define SKIP_SHIFT 7
#define INSIDE_STEP 2

/* Before the end of a chunk the last positions get into no table. */
#define END_MARGIN 8

/* Takes the match of 4 bytes at `at`, unless the next byte goes on with the last distance, or the
 * next position has a longer match in its pair. */
static inline void take_of_four(search *state, int32_t at, int32_t source)
{
    const int32_t next = state->next;
    const uint64_t bytes = dtr_kp_load8(state->history + next);
    const dtr_kp_pair pair = state->tables->by_seven[dtr_kp_hash_seven(bytes)];

    insert_both(state, next);
    take(state, at, source);
    if (take_longer(state, at + 1, at + 1 - state->distance))
        return;
    if (next - dtr_kp_recent(pair) >= DTR_KP_WINDOW)
        return;
    take_longer(state, next, dtr_kp_recent(pair));
    take_longer(state, next, dtr_kp_older(pair));
}

/* Takes the match 2 bytes behind `start` whose end is at `end`, if it is longer. */
static inline void take_by_end(search *state, int32_t start, int32_t end)
{
    const int32_t at = start + 2, source = end - state->length + 2;

    if (source < 0 || at - source <= 0 || at - source >= DTR_KP_WINDOW)
        return;
    const int32_t length = length_at(state, at, source);
    if (length > state->length)
        set_match(state, at, source, length);
}

/* Looks for longer matches that have the 7 bytes behind the match in common. They begin 2 bytes
 * later; the two bytes come back if they fit. */
static inline void look_at_end(search *state)
{
    const int32_t start = state->at, after = start + state->length;

    if (after >= state->last)
        return;
    const uint64_t bytes = dtr_kp_load8(state->history + after);
    const dtr_kp_pair pair = state->tables->by_seven[dtr_kp_hash_seven(bytes)];
    if (after - dtr_kp_recent(pair) >= DTR_KP_WINDOW)
        return;
    take_by_end(state, start, dtr_kp_recent(pair));
    take_by_end(state, start, dtr_kp_older(pair));
}

/* Inserts each second position up to the end of the chunk. */
static inline void insert_rest(const search *state)
{
    for (int32_t i = state->next + 1; i < state->end - END_MARGIN; i += INSIDE_STEP)
        insert_both(state, i);
}

/* Inserts positions up to the new one: all by 7 bytes, each second by 4. */
static inline void insert_inside(const search *state)
{
    for (int32_t i = state->next + 1; i < state->at - 1; i += INSIDE_STEP) {
        insert_both(state, i);
        dtr_kp_insert_seven(state->tables, state->history, i + 1);
    }
}

void dtr_kp_search_level6(dtr_kp_tables *tables, const uint8_t *history, int32_t start, int32_t end,
                          dtr_kp_matches *matches)
{
    search state = search_begin(tables, history, start, end);

    matches->count = matches->matched = 0;
    if (end - start < DTR_KP_SEARCH_SIZE_MIN)
        return;
    while (find_match(&state, SKIP_SHIFT, take_of_four)) {
        look_at_end(&state);
        extend_backwards(&state);
        state.distance = state.at - state.source;
        if (!append_match(&state, matches)) {
            insert_rest(&state);
            return;
        }
        insert_inside(&state);
    }
}
