/* The search of level 1: one table by 5 bytes. */
#include "klauspost_match.h"

/* A position without a match makes the next step longer by one for each 32 literals. */
#define SKIP_SHIFT 5

typedef struct {
    int32_t *table;
    const uint8_t *history;
    int32_t end, last; /* the chunk's end; the last position whose hash is looked up */
    int32_t covered;   /* bytes before it belong to a sequence */
    int32_t at, next;  /* the position, and the one that follows if it has no match */
    int32_t source;    /* of the match at `at` */
} search;

static inline int32_t *slot_of(const search *state, int32_t at)
{
    return &state->table[dtr_kp_hash_five(dtr_kp_load8(state->history + at))];
}

static inline int is_match(const search *state, int32_t at, int32_t source, int32_t distance_max)
{
    const uint8_t *history = state->history;

    return at - source <= distance_max &&
           dtr_kp_load4(history + source) == dtr_kp_load4(history + at);
}

/* Finds the next match at or behind `at`. Returns 0 if the chunk has none. */
static inline int find_match(search *state)
{
    for (;;) {
        state->next = state->at + 2 + ((state->at - state->covered) >> SKIP_SHIFT);
        if (state->next > state->last)
            return 0;
        int32_t *slot = slot_of(state, state->at);
        state->source = *slot;
        *slot = state->at;
        slot = slot_of(state, state->next);
        if (is_match(state, state->at, state->source, DTR_KP_WINDOW - 1)) {
            *slot = state->next;
            return 1;
        }
        state->at = state->next++;
        state->source = *slot;
        *slot = state->at;
        if (is_match(state, state->at, state->source, DTR_KP_WINDOW - 1)) {
            *slot = state->next; /* though the slot is that of the position before */
            return 1;
        }
        state->at = state->next;
    }
}

static inline void append_match(search *state, dtr_kp_matches *matches)
{
    const uint8_t *history = state->history;
    int32_t at = state->at, source = state->source;
    const int32_t end = at + dtr_kp_common_length(history, at, source, state->end);

    while (source > 0 && at > state->covered && history[source - 1] == history[at - 1]) {
        at--;
        source--;
    }
    dtr_kp_append(matches, at - state->covered, end - at, at - source);
    state->covered = end;
    state->at = state->next >= end ? state->next + 1 : end;
}

/* Looks for a match that directly follows another one. */
static inline int find_following(search *state)
{
    int32_t *slot;

    *slot_of(state, state->at - 2) = state->at - 2;
    slot = slot_of(state, state->at);
    state->source = *slot;
    *slot = state->at;
    return is_match(state, state->at, state->source, DTR_KP_WINDOW);
}

void dtr_kp_search_level1(dtr_kp_tables *tables, const uint8_t *history, int32_t start, int32_t end,
                          dtr_kp_matches *matches)
{
    search state = {.table = tables->by_four, .history = history, .end = end,
                    .last = end - DTR_KP_LOOKUP_MARGIN, .covered = start, .at = start};

    matches->count = matches->matched = 0;
    if (end - start < DTR_KP_SEARCH_SIZE_MIN)
        return;
    while (find_match(&state)) {
        do {
            append_match(&state, matches);
            if (state.at >= state.last)
                return;
        } while (find_following(&state));
        state.at++;
    }
}
