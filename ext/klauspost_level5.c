/* The search of level 5: one table by 4 bytes, one with two positions by 7 bytes. */
#include "klauspost_search.h"

#define SKIP_SHIFT 6

/* Matches below this length get a second look at their end. */
#define SECOND_LOOK_LENGTH 30

/* Positions inside a match that get into the tables: three apart. */
#define INSIDE_STEP 3

/* Takes the match of 4 bytes at `at`, unless the next position has a longer one in its pair. */
static inline void take_of_four(search *state, int32_t at, int32_t source)
{
    const int32_t next = state->next;
    const uint64_t bytes = dtr_kp_load8(state->history + next);
    const dtr_kp_pair pair = state->tables->by_seven[dtr_kp_hash_seven(bytes)];

    insert_both(state, next);
    take(state, at, source);
    if (next - dtr_kp_recent(pair) >= DTR_KP_WINDOW)
        return;
    if (!take_longer(state, next, dtr_kp_recent(pair)))
        take_longer(state, next, dtr_kp_older(pair));
}

/* Looks for a longer match that has the 7 bytes behind the match in common. It begins 2 bytes
 * later; the two bytes come back if they fit. */
static inline void look_at_end(search *state)
{
    const int32_t after = state->at + state->length;

    if (state->length >= SECOND_LOOK_LENGTH || after >= state->last)
        return;
    const uint64_t bytes = dtr_kp_load8(state->history + after);
    const int32_t recent = dtr_kp_recent(state->tables->by_seven[dtr_kp_hash_seven(bytes)]);
    const int32_t source = recent - state->length + 2, distance = after - recent;

    if (source >= 0 && distance > 0 && distance < DTR_KP_WINDOW) {
        const int32_t length = length_at(state, state->at + 2, source);
        if (length > state->length)
            set_match(state, state->at + 2, source, length);
    }
}

/* Inserts a part of the positions between the match's start and the new position. */
static inline void insert_inside(const search *state)
{
    int32_t i = state->at - state->length + 1;

    if (i < state->at - 1) {
        insert_both(state, i);
        dtr_kp_insert_seven(state->tables, state->history, i + 1);
        dtr_kp_insert_four(state->tables, state->history, i + 2);
        for (i += INSIDE_STEP + 1; i < state->at - 1; i += INSIDE_STEP) {
            dtr_kp_insert_seven(state->tables, state->history, i);
            dtr_kp_insert_four(state->tables, state->history, i + 1);
        }
    }
    insert_both(state, state->at - 1);
}

void dtr_kp_search_level5(dtr_kp_tables *tables, const uint8_t *history, int32_t start, int32_t end,
                          dtr_kp_matches *matches)
{
    search state = search_begin(tables, history, start, end);

    matches->count = matches->matched = 0;
    if (end - start < DTR_KP_SEARCH_SIZE_MIN)
        return;
    while (find_match(&state, SKIP_SHIFT, take_of_four)) {
        look_at_end(&state);
        extend_backwards(&state);
        if (!append_match(&state, matches))
            return;
        insert_inside(&state);
    }
}
