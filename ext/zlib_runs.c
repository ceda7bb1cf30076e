/* Runs of zlib, GNU gzip and pigz. A block end is a checkpoint, with pigz only that of a part. */
#include "zlib_encoders.h"

#include "zlib_blocks.h"
#include "zlib_parse.h"

#include <stdlib.h>

/* pigz: each part is compressed on its own, with the bytes before it as dictionary. */
#define PIGZ_PART_SIZE 131072

/* The state of a checkpoint. The number is never used for another layout. */
#define STATE_MAGIC UINT32_C(0x31626c7a) /* "zlb1" */

typedef struct {
    uint32_t magic, encoder;
    uint64_t position;         /* where the next block starts */
    uint16_t length, distance; /* the match there, if it has been looked for; or 2 and 0 */
    uint8_t is_pending;        /* 1 if it has been looked for */
    uint8_t bit_count, bits;   /* the last byte of the segment, which is not complete */
    uint8_t zero;
} zlib_state;

typedef struct {
    uint32_t id, history;
    dtr_zlib_rules rules;
    uint32_t part_size; /* 0: a stream is one part */
} zlib_variant;

static const zlib_variant zlib = {
    DTR_ID_ZLIB, DTR_ZLIB_HISTORY, {.tokens_max = 16383}, 0};

static const zlib_variant gnu_gzip = {
    DTR_ID_GNU_GZIP, DTR_GNU_GZIP_HISTORY,
    {.tokens_max = DTR_ZLIB_TOKENS_MAX, .tokens_check = 4096, .passes_end = 1}, 0};

static const zlib_variant pigz = {
    DTR_ID_PIGZ, DTR_ZLIB_HISTORY, {.tokens_max = 16383}, PIGZ_PART_SIZE};

/* Returns whether the match is there, as far as the plain bytes are there too. */
static int has_match(const dtr_replay *run, const zlib_state *state)
{
    const uint64_t rest = run->end > state->position ? run->end - state->position : 0;
    const uint8_t *at = run->plain + (state->position - run->begin);

    if (state->length == 2)
        return state->distance == 0;
    if (state->length < DTR_DEFLATE_LENGTH_MIN || state->length > DTR_DEFLATE_LENGTH_MAX ||
        state->length > run->total - state->position || state->distance == 0 ||
        state->distance > DTR_ZLIB_DISTANCE_MAX || state->distance >= state->position)
        return 0;
    for (uint64_t i = 0; i < state->length && i < rest; i++)
        if (at[i] != (at - state->distance)[i])
            return 0;
    return 1;
}

static int is_valid(const dtr_replay *run, const zlib_variant *variant, const zlib_state *state)
{
    const uint64_t position = state->position;

    if (state->magic != STATE_MAGIC || state->encoder != variant->id || state->zero != 0)
        return 0;
    if (position == 0 || position >= run->total || state->is_pending > 1 || state->bit_count > 7 ||
        state->bits >> state->bit_count != 0)
        return 0;
    if (variant->part_size != 0 &&
        (position % variant->part_size != 0 || state->is_pending || state->bit_count != 0))
        return 0;
    return state->is_pending || (state->length == 2 && state->distance == 0);
}

/* Reads the state. The bytes before its position must have the history. */
static int load_state(const dtr_replay *run, const zlib_variant *variant, zlib_state *state)
{
    *state = (zlib_state){.magic = STATE_MAGIC, .encoder = variant->id, .length = 2};
    if (run->begin > run->end || run->end > run->total)
        return DTR_REPLAY_INVALID;
    if (run->state_size != 0) {
        if (run->state_size != sizeof *state)
            return DTR_REPLAY_INVALID;
        memcpy(state, run->state, sizeof *state);
        if (!is_valid(run, variant, state))
            return DTR_REPLAY_INVALID;
    }
    const uint64_t history =
        state->position < variant->history ? state->position : variant->history;
    if (run->begin > state->position - history)
        return DTR_REPLAY_INVALID;
    if (run->end < state->position + state->is_pending)
        return DTR_REPLAY_SHORT;
    return has_match(run, state) ? DTR_REPLAY_STOPPED : DTR_REPLAY_INVALID;
}

typedef struct {
    dtr_zlib_parser parser;
    dtr_bits bits;
} zlib_work;

static void save_state(const zlib_work *work, dtr_replay *run, uint32_t encoder)
{
    const dtr_zlib_cursor *cursor = &work->parser.cursor;
    const zlib_state state = {
        .magic = STATE_MAGIC, .encoder = encoder, .position = run->position,
        .length = (uint16_t)cursor->previous.length,
        .distance = (uint16_t)cursor->previous.distance,
        .is_pending = (uint8_t)cursor->is_pending,
        .bit_count = (uint8_t)work->bits.count, .bits = (uint8_t)work->bits.bits};

    memcpy(run->state, &state, sizeof state);
    run->state_size = sizeof state;
}

/* Writes the tokens that the parser has found. */
static void write_block(zlib_work *work, const dtr_replay *run, uint64_t end, int is_last)
{
    const dtr_zlib_parser *parser = &work->parser;
    const dtr_deflate_tokens tokens = {
        run->plain + (parser->block_start - run->begin), (size_t)(end - parser->block_start),
        parser->sequences, parser->sequence_count};

    dtr_zlib_write_block(&work->bits, &tokens, parser->is_storable, is_last);
}

/* Writes a part, or blocks of it up to a checkpoint where the run ends. */
static int write_part(zlib_work *work, dtr_replay *run, int has_checkpoints)
{
    dtr_zlib_parser *parser = &work->parser;
    const int is_last_part = parser->part_end == run->total;

    for (;;) {
        const int result = dtr_zlib_parse(parser);
        const int is_last = is_last_part && result == DTR_ZLIB_PART_END;
        const uint64_t end = dtr_zlib_position(parser) - (uint32_t)parser->cursor.is_pending;

        if (result == DTR_ZLIB_SHORT)
            return DTR_REPLAY_SHORT;
        if (parser->cursor.tokens > 0 || is_last)
            write_block(work, run, end, is_last);
        if (work->bits.is_full)
            return DTR_REPLAY_FULL;
        run->position = end;
        if (result == DTR_ZLIB_PART_END)
            return DTR_REPLAY_ENDED;
        dtr_zlib_parse_next(parser);
        /* gzip: behind a frozen window, the offset does not tell its base any more. */
        if (has_checkpoints && end >= run->stop && end < run->total && !parser->is_frozen)
            return DTR_REPLAY_STOPPED;
    }
}

static int write_parts(zlib_work *work, dtr_replay *run, uint32_t part_size)
{
    for (;;) {
        const uint64_t start = run->position, rest = run->total - start;
        const uint64_t end = start + (rest < part_size ? rest : part_size);
        int result;

        if (run->end < end)
            return DTR_REPLAY_SHORT;
        dtr_zlib_parse_start(&work->parser, start, end, 0, DTR_ZLIB_NO_MATCH);
        result = write_part(work, run, 0);
        if (result != DTR_REPLAY_ENDED || end == run->total)
            return result;
        dtr_zlib_write_part_end(&work->bits);
        if (work->bits.is_full)
            return DTR_REPLAY_FULL;
        if (end >= run->stop)
            return DTR_REPLAY_STOPPED;
    }
}

static int write_segment(zlib_work *work, dtr_replay *run, const zlib_variant *variant,
                         const zlib_state *state)
{
    int result;

    run->position = state->position;
    if (variant->part_size != 0) {
        result = write_parts(work, run, variant->part_size);
    } else {
        dtr_zlib_parse_start(&work->parser, state->position + state->is_pending, run->total,
                             state->is_pending, (dtr_zlib_match){state->length, state->distance});
        result = write_part(work, run, 1);
    }
    if (result == DTR_REPLAY_ENDED) {
        dtr_bits_align(&work->bits);
        if (work->bits.is_full)
            return DTR_REPLAY_FULL;
    }
    return result;
}

static int run_variant(dtr_replay *run, const zlib_variant *variant)
{
    zlib_state state;
    zlib_work *work;
    int result = load_state(run, variant, &state);

    if (result != DTR_REPLAY_STOPPED)
        return result;
    work = malloc(sizeof *work);
    if (work == NULL)
        return DTR_REPLAY_MEMORY;
    work->parser.rules = variant->rules;
    work->parser.input = (dtr_zlib_input){run->plain, run->begin, run->end, run->total};
    work->parser.is_in_tail = work->parser.is_frozen = 0;
    work->bits = (dtr_bits){.at = run->out, .end = run->out + run->out_capacity,
                            .bits = state.bits, .count = state.bit_count};
    result = write_segment(work, run, variant, &state);
    run->out_size = (size_t)(work->bits.at - run->out);
    if (result == DTR_REPLAY_STOPPED)
        save_state(work, run, variant->id);
    free(work);
    return result;
}

int dtr_zlib_run(dtr_replay *run)
{
    return run_variant(run, &zlib);
}

int dtr_gnu_gzip_run(dtr_replay *run)
{
    return run_variant(run, &gnu_gzip);
}

int dtr_pigz_run(dtr_replay *run)
{
    return run_variant(run, &pigz);
}
