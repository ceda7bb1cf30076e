#include "zlib_parse.h"

/* The encoders keep so many bytes in sight. With fewer, the window moves a byte earlier. */
#define LOOKAHEAD_MIN 262

/* The largest position of a step in a window of 65536 bytes with that lookahead. */
#define STEP_MAX (2 * DTR_ZLIB_WINDOW_STEP - LOOKAHEAD_MIN)

/* A match of three bytes with a larger distance takes more bits than literals. */
#define TOO_FAR 4096

/* gzip: the first offset whose byte behind the end is that of the window before. */
#define STALE_START (2 * DTR_ZLIB_WINDOW_STEP)

/* gzip: its estimate of a match's distance code, in bits. */
#define DISTANCE_SIZE 5

static uint64_t window_base(uint64_t position)
{
    if (position <= STEP_MAX)
        return 0;
    return (position - DTR_ZLIB_DISTANCE_MAX - 1) / DTR_ZLIB_WINDOW_STEP * DTR_ZLIB_WINDOW_STEP;
}

/* gzip: two zeros are behind the end, then the bytes that the window had one step before. */
static void fill_behind_end(dtr_zlib_parser *parser, uint8_t *into)
{
    const dtr_zlib_input *input = &parser->input;

    for (uint32_t i = 2; i < DTR_ZLIB_TAIL; i++) {
        const uint64_t offset = input->total + i;

        if (offset >= STALE_START && offset - DTR_ZLIB_WINDOW_STEP >= input->begin &&
            offset - DTR_ZLIB_WINDOW_STEP < input->end)
            into[i] = input->plain[offset - DTR_ZLIB_WINDOW_STEP - input->begin];
    }
}

/* Moves the cursor to a copy of the last bytes, with room for reads behind them. */
static void enter_tail(dtr_zlib_parser *parser, uint64_t position)
{
    const dtr_zlib_input *input = &parser->input;
    const uint64_t history = position - input->begin < DTR_ZLIB_TAIL_HISTORY
                                 ? position - input->begin
                                 : DTR_ZLIB_TAIL_HISTORY;
    const size_t size = (size_t)(input->end - position + history);

    parser->tail_start = position - history;
    if (size > 0)
        memcpy(parser->tail, input->plain + (parser->tail_start - input->begin), size);
    memset(parser->tail + size, 0, DTR_ZLIB_TAIL);
    parser->readable_end = parser->tail + size + 1;
    if (input->end < parser->part_end)
        parser->readable_end -= size < DTR_ZLIB_STEP_SIZE ? size + 1 : DTR_ZLIB_STEP_SIZE;
    else if (parser->rules.passes_end)
        fill_behind_end(parser, parser->tail + size);
    parser->is_in_tail = 1;
    parser->cursor.here = parser->tail + history;
}

/* Sets the place to read from. */
static void seek(dtr_zlib_parser *parser, uint64_t position)
{
    const dtr_zlib_input *input = &parser->input;

    if (parser->is_in_tail) {
        parser->cursor.here = parser->tail + (position - parser->tail_start);
    } else if (input->end - position <= DTR_ZLIB_TAIL) {
        enter_tail(parser, position);
    } else {
        parser->cursor.here = input->plain + (position - input->begin);
        parser->readable_end = input->plain + (input->end - input->begin) - DTR_ZLIB_TAIL;
    }
}

/* Sorts the positions of the block that starts at `start`: those that have three bytes. */
static void index_block(dtr_zlib_parser *parser, uint64_t start)
{
    const dtr_zlib_input *input = &parser->input;
    const uint64_t bytes_end = parser->part_end < input->end ? parser->part_end : input->end;
    const uint64_t hash_end = bytes_end < 2 ? 0 : bytes_end - 2;
    const uint64_t first = start > input->begin ? start : input->begin;
    uint64_t end = start + DTR_ZLIB_WINDOW_STEP;

    if (end > hash_end)
        end = hash_end;
    if (end <= first) {
        dtr_zlib_index_block(&parser->index, input->plain, 0, 0);
        return;
    }
    dtr_zlib_index_block(&parser->index, input->plain + (first - input->begin),
                         (uint32_t)(first - start), (uint32_t)(end - first));
}

/* Sorts the block of the position and the one before it. */
static void index_history(dtr_zlib_parser *parser, uint64_t position)
{
    const uint64_t start = position - position % DTR_ZLIB_WINDOW_STEP;

    parser->index.current = 0;
    if (start == 0)
        dtr_zlib_index_block(&parser->index, parser->input.plain, 0, 0);
    else
        index_block(parser, start - DTR_ZLIB_WINDOW_STEP);
    index_block(parser, start);
    parser->index_end = start + DTR_ZLIB_WINDOW_STEP;
}

void dtr_zlib_parse_next(dtr_zlib_parser *parser)
{
    const dtr_zlib_rules *rules = &parser->rules;

    parser->block_start = dtr_zlib_position(parser) - (uint32_t)parser->cursor.is_pending;
    parser->cursor.tokens = parser->cursor.tokens_matched = 0;
    parser->sequence_count = parser->sequences_weighed = parser->matches_size = 0;
    parser->tokens_next = rules->tokens_check != 0 ? rules->tokens_check : rules->tokens_max;
}

void dtr_zlib_parse_start(dtr_zlib_parser *parser, uint64_t position, uint64_t part_end,
                          int is_pending, dtr_zlib_match previous)
{
    dtr_zlib_cursor *cursor = &parser->cursor;

    parser->part_end = part_end;
    cursor->left = part_end - position;
    cursor->at = (uint32_t)(position - window_base(position));
    cursor->is_pending = is_pending;
    cursor->previous = previous;
    seek(parser, position);
    cursor->pause = cursor->here;
    index_history(parser, position);
    dtr_zlib_parse_next(parser);
}

/* Prepares a step in sight of the end of the part. */
static void limit_step(dtr_zlib_parser *parser)
{
    dtr_zlib_cursor *cursor = &parser->cursor;

    if (cursor->at >= STEP_MAX && !parser->is_frozen)
        cursor->at -= DTR_ZLIB_WINDOW_STEP;
    cursor->pause = cursor->here;
    if (parser->rules.passes_end) {
        parser->is_frozen = 1;
        if (cursor->at > STEP_MAX)
            cursor->distance_max = 0;
        return;
    }
    if (cursor->left < cursor->length_max)
        cursor->length_max = (uint32_t)cursor->left;
    if (cursor->left < cursor->nice)
        cursor->nice = (uint32_t)cursor->left;
}

/* Returns the number of bytes up to a step that needs a preparation. */
static uint64_t pause_distance(const dtr_zlib_parser *parser)
{
    const dtr_zlib_cursor *cursor = &parser->cursor;
    const uint64_t events[] = {
        (uint64_t)(parser->readable_end - cursor->here), cursor->left - LOOKAHEAD_MIN + 1,
        parser->index_end - dtr_zlib_position(parser), STEP_MAX + 1 - cursor->at};
    uint64_t distance = events[0];

    for (size_t i = 1; i < sizeof events / sizeof events[0]; i++)
        distance = distance < events[i] ? distance : events[i];
    return distance;
}

/* Prepares the step at the cursor. Returns 0 if plain bytes are missing. */
static int prepare_step(dtr_zlib_parser *parser)
{
    dtr_zlib_cursor *cursor = &parser->cursor;

    if (cursor->here >= parser->readable_end && !parser->is_in_tail)
        enter_tail(parser, dtr_zlib_position(parser));
    if (cursor->here >= parser->readable_end && cursor->left > 0)
        return 0;
    if (dtr_zlib_position(parser) >= parser->index_end) {
        index_block(parser, parser->index_end);
        parser->index_end += DTR_ZLIB_WINDOW_STEP;
    }
    cursor->distance_max = DTR_ZLIB_DISTANCE_MAX;
    cursor->length_max = DTR_DEFLATE_LENGTH_MAX;
    cursor->nice = DTR_ZLIB_NICE;
    if (cursor->left < LOOKAHEAD_MIN) {
        limit_step(parser);
        return 1;
    }
    if (cursor->at > STEP_MAX)
        cursor->at -= DTR_ZLIB_WINDOW_STEP;
    cursor->pause = cursor->here + pause_distance(parser);
    return 1;
}

/* Returns the distance of the nearest candidate, or a large number. */
static inline uint32_t nearest_distance(const dtr_zlib_walk *walk)
{
    if (walk->next > walk->stop)
        return walk->at - walk->next[-1];
    if (walk->older_next > walk->older_stop)
        return walk->at + DTR_ZLIB_WINDOW_STEP - walk->older_next[-1];
    return UINT32_MAX;
}

/* Returns the match at the position of the step. */
static inline dtr_zlib_match find_match(const dtr_zlib_parser *parser,
                                        const dtr_zlib_cursor *cursor)
{
    const uint32_t previous = cursor->previous.length;
    const uint32_t tries = previous >= DTR_ZLIB_GOOD ? DTR_ZLIB_TRIES_GOOD : DTR_ZLIB_TRIES;
    dtr_zlib_match match;
    dtr_zlib_walk walk;

    if (previous >= DTR_ZLIB_LAZY || cursor->left < DTR_DEFLATE_LENGTH_MIN)
        return DTR_ZLIB_NO_MATCH;
    walk = dtr_zlib_candidates(&parser->index, cursor->at % DTR_ZLIB_WINDOW_STEP, tries);
    walk.reach = cursor->at - 1 < cursor->distance_max ? cursor->at - 1 : cursor->distance_max;
    /* Only the nearest candidate may have the largest distance. */
    if (walk.reach == DTR_ZLIB_DISTANCE_MAX && nearest_distance(&walk) != DTR_ZLIB_DISTANCE_MAX)
        walk.reach = DTR_ZLIB_DISTANCE_MAX - 1;
    match = dtr_zlib_search(walk, cursor->here, previous, cursor->length_max, cursor->nice);
    if (match.length > cursor->left)
        match.length = (uint32_t)cursor->left;
    if (match.length == DTR_DEFLATE_LENGTH_MIN && match.distance > TOO_FAR)
        return DTR_ZLIB_NO_MATCH;
    return match;
}

/* Takes the match at the position before, and moves behind it. */
static inline void take_previous(dtr_zlib_parser *parser, dtr_zlib_cursor *cursor)
{
    const dtr_zlib_match match = cursor->previous;
    const uint32_t move = match.length - 1;

    parser->sequences[parser->sequence_count++] =
        (dtr_sequence){(uint16_t)(cursor->tokens - cursor->tokens_matched), (uint16_t)match.length,
                       (uint16_t)match.distance};
    cursor->tokens_matched = ++cursor->tokens;
    cursor->here += move;
    cursor->at += move;
    cursor->left -= move;
    cursor->is_pending = 0;
    cursor->previous = DTR_ZLIB_NO_MATCH;
}

/* gzip: returns whether the block compresses so well, by an estimate, that its code should end
 * while it fits. It has few matches. */
static int fits_well(dtr_zlib_parser *parser, uint32_t tokens, uint64_t step)
{
    uint64_t out_size, in_size = step - parser->block_start;

    for (; parser->sequences_weighed < parser->sequence_count; parser->sequences_weighed++) {
        const uint32_t distance = parser->sequences[parser->sequences_weighed].distance;

        parser->matches_size +=
            DISTANCE_SIZE + dtr_deflate_distance_extra(dtr_deflate_distance_symbol(distance));
    }
    out_size = (8 * (uint64_t)tokens + parser->matches_size) / 8;
    return parser->sequence_count < tokens / 2 && out_size < in_size / 2;
}

/* Returns whether the block ends with this number of tokens. */
static int ends_block(dtr_zlib_parser *parser, uint32_t tokens, uint64_t step)
{
    const dtr_zlib_rules *rules = &parser->rules;

    if (rules->tokens_check == 0 || tokens == rules->tokens_max)
        return 1;
    if (fits_well(parser, tokens, step))
        return 1;
    parser->tokens_next += rules->tokens_check;
    if (parser->tokens_next > rules->tokens_max)
        parser->tokens_next = rules->tokens_max;
    return 0;
}

static int end_block(dtr_zlib_parser *parser, uint64_t step, uint32_t at, int result)
{
    parser->is_storable = step - parser->block_start <= at;
    return result;
}

static int end_part(dtr_zlib_parser *parser)
{
    dtr_zlib_cursor *cursor = &parser->cursor;

    cursor->tokens += (uint32_t)cursor->is_pending;
    cursor->is_pending = 0;
    return end_block(parser, parser->part_end, cursor->at, DTR_ZLIB_PART_END);
}

/* Leaves the byte of the step to the next one, and makes the byte before it a literal, if it is
 * still pending. */
static inline void keep_match(dtr_zlib_cursor *cursor, dtr_zlib_match match)
{
    cursor->tokens += (uint32_t)cursor->is_pending;
    cursor->is_pending = 1;
    cursor->previous = match;
    cursor->here++;
    cursor->at++;
    cursor->left--;
}

int dtr_zlib_parse(dtr_zlib_parser *parser)
{
    dtr_zlib_cursor cursor = parser->cursor; /* a copy can stay in registers */

    for (;;) {
        if (cursor.here >= cursor.pause) {
            parser->cursor = cursor;
            if (!prepare_step(parser))
                return DTR_ZLIB_SHORT;
            cursor = parser->cursor;
            if (cursor.left == 0)
                return end_part(parser);
        }
        const uint64_t step = parser->part_end - cursor.left;
        const uint32_t at = cursor.at;
        const dtr_zlib_match match = find_match(parser, &cursor);

        if (cursor.previous.length >= DTR_DEFLATE_LENGTH_MIN &&
            match.length <= cursor.previous.length)
            take_previous(parser, &cursor);
        else
            keep_match(&cursor, match);
        if (cursor.tokens == parser->tokens_next && ends_block(parser, cursor.tokens, step)) {
            parser->cursor = cursor;
            return end_block(parser, step, at, DTR_ZLIB_BLOCK_END);
        }
    }
}
