/* Entries of the tables follow from their positions and the plain bytes, so a state has one bit for
 * each position and table. Entries out of reach are left out: they never decide anything. */
#include "klauspost_state.h"

#include "klauspost_tokens.h"

/* The bytes that a hash reads, the position's included. */
#define HASHED_SIZE 8

/* Level 6: the recent and the older position of a pair. Level 1: the slot of the position's own
 * hash, and the slot of the position before it. */
enum { MAP_FOUR, MAP_RECENT, MAP_OLDER, MAP_BEFORE = 1 };

size_t dtr_kp_state_size(int map_count)
{
    return offsetof(dtr_kp_state, maps) + (size_t)map_count * DTR_KP_MAP_SIZE;
}

/* Positions of a map count from a window before `at`. That position itself is out of reach. */
static int in_reach(int32_t position, int32_t at)
{
    return position > at - DTR_KP_WINDOW;
}

static void mark(uint8_t *map, int32_t position, int32_t at)
{
    const int32_t bit = position - (at - DTR_KP_WINDOW);

    map[bit / 8] |= (uint8_t)(1u << bit % 8);
}

static int is_marked(const uint8_t *map, int32_t bit)
{
    return map[bit / 8] >> bit % 8 & 1;
}

static void save_pairs(dtr_kp_state *state, const dtr_kp_tables *tables, int32_t at)
{
    for (size_t i = 0; i < DTR_KP_TABLE_SIZE; i++) {
        const dtr_kp_pair pair = tables->by_seven[i];

        if (in_reach(tables->by_four[i], at))
            mark(state->maps[MAP_FOUR], tables->by_four[i], at);
        /* An older position counts only behind a recent one in reach. */
        if (!in_reach(dtr_kp_recent(pair), at))
            continue;
        mark(state->maps[MAP_RECENT], dtr_kp_recent(pair), at);
        if (in_reach(dtr_kp_older(pair), at))
            mark(state->maps[MAP_OLDER], dtr_kp_older(pair), at);
    }
}

static uint32_t hash_five_at(const uint8_t *history, int32_t position)
{
    return dtr_kp_hash_five(dtr_kp_load8(history + position));
}

static void save_singles(dtr_kp_state *state, const dtr_kp_tables *tables, const uint8_t *history,
                         int32_t at)
{
    for (uint32_t i = 0; i < DTR_KP_TABLE_SIZE; i++) {
        const int32_t position = tables->by_four[i];

        if (in_reach(position, at))
            mark(state->maps[hash_five_at(history, position) == i ? MAP_FOUR : MAP_BEFORE],
                 position, at);
    }
}

static void save_lengths(dtr_kp_state *state, const dtr_kp_code *code)
{
    uint8_t lengths[DTR_KP_LITERAL_CODES + DTR_KP_DISTANCE_CODES];

    memcpy(lengths, code->literal_lengths, DTR_KP_LITERAL_CODES);
    memcpy(lengths + DTR_KP_LITERAL_CODES, code->distance_lengths, DTR_KP_DISTANCE_CODES);
    for (size_t i = 0; i < DTR_KP_LENGTHS_SIZE; i++)
        state->lengths[i] = (uint8_t)(lengths[2 * i] | lengths[2 * i + 1] << 4);
}

void dtr_kp_state_save(dtr_kp_state *state, int map_count, const dtr_kp_writer *writer,
                       const dtr_kp_tables *tables, const uint8_t *history, int32_t at)
{
    memset(&state->bits, 0, dtr_kp_state_size(map_count) - offsetof(dtr_kp_state, bits));
    state->bits = (uint8_t)writer->bits.bits;
    state->bit_count = (uint8_t)writer->bits.count;
    state->open = (uint8_t)writer->open;
    if (writer->open != DTR_KP_CLOSED)
        save_lengths(state, &writer->code);
    if (map_count == DTR_KP_MAPS_LEVEL1)
        save_singles(state, tables, history, at);
    else
        save_pairs(state, tables, at);
}

/* Sets a slot, which must be empty. */
static int fill(int32_t *slot, int32_t position)
{
    const int is_empty = *slot == DTR_KP_NONE;

    *slot = position;
    return is_empty;
}

static int load_pairs(const dtr_kp_state *state, dtr_kp_tables *tables, const uint8_t *history,
                      int32_t bit, int32_t position)
{
    const uint64_t bytes = dtr_kp_load8(history + position);
    dtr_kp_pair *pair = &tables->by_seven[dtr_kp_hash_seven(bytes)];
    int32_t recent = dtr_kp_recent(*pair), older = dtr_kp_older(*pair);
    int is_valid = 1;

    if (is_marked(state->maps[MAP_FOUR], bit))
        is_valid &= fill(&tables->by_four[dtr_kp_hash_four((uint32_t)bytes)], position);
    if (is_marked(state->maps[MAP_RECENT], bit))
        is_valid &= fill(&recent, position);
    if (is_marked(state->maps[MAP_OLDER], bit))
        is_valid &= fill(&older, position);
    *pair = dtr_kp_pair_with((uint32_t)older, recent);
    return is_valid;
}

static int load_singles(const dtr_kp_state *state, dtr_kp_tables *tables, const uint8_t *history,
                        int32_t bit, int32_t position)
{
    int is_valid = 1;

    if (is_marked(state->maps[MAP_FOUR], bit))
        is_valid &= fill(&tables->by_four[hash_five_at(history, position)], position);
    if (is_marked(state->maps[MAP_BEFORE], bit))
        is_valid &= fill(&tables->by_four[hash_five_at(history, position - 1)], position);
    return is_valid;
}

static int is_any_marked(const dtr_kp_state *state, int map_count, int32_t bit)
{
    int marked = 0;

    for (int map = 0; map < map_count; map++)
        marked |= is_marked(state->maps[map], bit);
    return marked;
}

/* No run inserts a position whose hash reads up to the checkpoint, or one that is out of reach. */
static int load_tables(const dtr_kp_state *state, int map_count, dtr_kp_tables *tables,
                       const uint8_t *history, int32_t at)
{
    int is_valid = 1;

    dtr_kp_tables_clear(tables);
    for (int32_t bit = 0; bit < DTR_KP_WINDOW; bit++) {
        const int32_t position = at - DTR_KP_WINDOW + bit;

        if (!is_any_marked(state, map_count, bit))
            continue;
        if (bit == 0 || bit > DTR_KP_WINDOW - HASHED_SIZE)
            return 0;
        is_valid &= map_count == DTR_KP_MAPS_LEVEL1
                        ? load_singles(state, tables, history, bit, position)
                        : load_pairs(state, tables, history, bit, position);
    }
    return is_valid;
}

/* Returns whether a decoder accepts the code: it is complete, or has at most one symbol. */
static int is_code(const uint8_t *lengths, unsigned count)
{
    const uint32_t all = 1u << 15;
    uint32_t used = 0, symbols = 0;

    for (unsigned i = 0; i < count; i++) {
        symbols += lengths[i] != 0;
        used += lengths[i] == 0 ? 0 : all >> lengths[i];
    }
    return symbols > 1 ? used == all : used == symbols * (all / 2);
}

static int has_any(const uint8_t *lengths, size_t count)
{
    uint8_t any = 0;

    for (size_t i = 0; i < count; i++)
        any |= lengths[i];
    return any != 0;
}

/* Returns whether an open block of this kind can have these lengths. */
static int fits_kind(int open, const uint8_t *literals, const uint8_t *distances)
{
    const int has_distances = has_any(distances, DTR_KP_DISTANCE_CODES);
    const int has_lengths =
        has_any(literals + DTR_KP_END + 1, DTR_KP_LITERAL_CODES - DTR_KP_END - 1);

    if (open == DTR_KP_CLOSED)
        return !has_distances && !has_any(literals, DTR_KP_LITERAL_CODES);
    return literals[DTR_KP_END] != 0 && is_code(literals, DTR_KP_LITERAL_CODES) &&
           is_code(distances, DTR_KP_DISTANCE_CODES) &&
           has_distances == (open == DTR_KP_OPEN_FULL) && has_lengths == has_distances;
}

static int load_code(const dtr_kp_state *state, dtr_kp_writer *writer)
{
    dtr_kp_code *code = &writer->code;
    uint8_t lengths[DTR_KP_LITERAL_CODES + DTR_KP_DISTANCE_CODES];
    const uint8_t *distances = lengths + DTR_KP_LITERAL_CODES;

    for (size_t i = 0; i < DTR_KP_LENGTHS_SIZE; i++) {
        lengths[2 * i] = state->lengths[i] & 15;
        lengths[2 * i + 1] = state->lengths[i] >> 4;
    }
    if (!fits_kind(writer->open, lengths, distances))
        return 0;
    memset(code, 0, sizeof *code);
    memcpy(code->literal_lengths, lengths, DTR_KP_LITERAL_CODES);
    memcpy(code->distance_lengths, distances, DTR_KP_DISTANCE_CODES);
    if (writer->open != DTR_KP_CLOSED)
        dtr_kp_code_restore(writer);
    return 1;
}

int dtr_kp_state_load(const dtr_kp_state *state, int map_count, dtr_kp_writer *writer,
                      dtr_kp_tables *tables, const uint8_t *history, int32_t at)
{
    if (state->bit_count > 7 || state->bits >> state->bit_count != 0 ||
        state->open > DTR_KP_OPEN_FULL || state->zero != 0 ||
        has_any(state->zeros, sizeof state->zeros))
        return 0;
    writer->bits.bits = state->bits;
    writer->bits.count = state->bit_count;
    writer->open = state->open;
    return load_code(state, writer) && load_tables(state, map_count, tables, history, at);
}
