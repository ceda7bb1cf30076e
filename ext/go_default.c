/* Go's deflate encoder up to Go 1.26, level default (docs/encoders.md, section 2). */
#include "go_default.h"

#include "go_block.h"
#include "go_match.h"
#include "go_state.h"
#include "go_window.h"

#include <stdlib.h>

/* Limits of the encoder (docs/encoders.md, sections 2.2 and 2.4). */
#define LENGTH_NONE 3      /* stands for no match */
#define LENGTH_ENOUGH 128  /* ends a search */
#define LENGTH_LAZY 16     /* a match of this length is taken without a look at the next position */
#define NEAR_DISTANCE 4096 /* the farthest match of length 4 */
#define TRIES_MAX 128      /* candidates of one search */
#define BLOCK_TOKENS 16384

/* The candidates for the end of a longer match, until those for its start take over: 8 and 32 are
 * not faster. */
#define TAIL_STEPS 16

/* Go's buffer begins at a multiple of the stride. It moves on when the next position is as far
 * behind its start as the reach, and more input is to come (docs/encoders.md, section 2.3). */
#define BUFFER_SIZE 65536
#define BUFFER_STRIDE 32768
#define BUFFER_REACH 65275

typedef struct {
    uint32_t length, distance;
} match;

/* Offsets count from run->begin; positions count from the start of the stream. */
typedef struct {
    dtr_replay *run;
    const uint8_t *plain;
    size_t size;       /* of the plain bytes that are there */
    size_t total_size; /* with those up to the end of the stream */
    size_t block_start;
    size_t edge; /* cross_edge has work from this offset on */
    uint64_t buffer;     /* the position at which Go's buffer begins */
    size_t window_start; /* the offset of the first byte of the window */
    uint32_t lowest;     /* the first position in the window that is in Go's buffer */
    dtr_bits writer;
    dtr_go_tokens tokens;
    uint32_t token_room[BLOCK_TOKENS];
    dtr_go_window window;
} encoder;

/* Returns the offset behind the newer half of the window. */
static inline size_t window_end(const encoder *self)
{
    return self->window_start + self->window.newer_start + DTR_GO_HALF_SIZE;
}

/* A search for a match that is longer than `best`. Positions are those of the window. */
typedef struct {
    const dtr_go_window *window;
    const uint8_t *base, *here; /* the start of the window, and the position */
    uint32_t at, lowest;        /* the position, and the farthest candidate */
    uint32_t best, limit;       /* `best` is below LENGTH_ENOUGH and `limit` */
    match longest;
} match_search;

/* Returns the index in `sorted` of a position in the newer half. */
static inline uint32_t place_of(const dtr_go_window *window, uint32_t position)
{
    return window->places[position - window->newer_start];
}

/* Returns the farthest candidate: in reach, in Go's buffer, and within the number of tries. */
static inline uint32_t farthest_try(const match_search *self)
{
    const uint32_t place = place_of(self->window, self->at);

    if (place >= TRIES_MAX) {
        const uint32_t last = self->window->sorted[place - TRIES_MAX];

        if (last > self->lowest && dtr_go_hash(self->base + last) == dtr_go_hash(self->here))
            return last;
    }
    return self->lowest;
}

/* Compares up to `steps` candidates, the nearest first. Without `ahead`, these are the positions
 * with the hash of this position. With it, they are the positions whose bytes, so far ahead, have
 * the hash of the bytes that are as far ahead of this position. Returns whether there are no more.
 *
 * Positions with one hash descend. The first one that does not has another hash. */
static inline int walk(match_search *self, uint32_t ahead, uint32_t steps)
{
    const uint32_t place = place_of(self->window, self->at + ahead);
    const uint16_t *next = self->window->sorted + place;
    const uint16_t *last = next - (place < steps ? place : steps);
    const uint32_t enough = self->limit < LENGTH_ENOUGH ? self->limit : LENGTH_ENOUGH;
    const uint32_t lowest = self->lowest + ahead, span = self->at - self->lowest;
    const uint8_t *here = self->here, *farthest = here - span;
    uint32_t best = self->best, before = span; /* counts from the farthest candidate */
    /* Four bytes decide before a comparison: the end of a longer match, or its start if the hash is
     * that of the end. */
    uint32_t probe = ahead > 0 ? 0 : best - 3, bytes = dtr_go_load32(here + probe);

    while (next > last) {
        const uint32_t start = *--next - lowest;

        if (start >= before)
            return 1;
        before = start;
        if (dtr_go_load32(farthest + start + probe) != bytes)
            continue;
        const uint32_t length = dtr_go_match_length(farthest + start, here, self->limit);
        if (length <= best || (length == 4 && span - start > NEAR_DISTANCE))
            continue;
        if (ahead > 0 && self->lowest + start < farthest_try(self))
            return 1;
        self->best = best = length;
        self->longest = (match){length, span - start};
        if (length >= enough)
            return 1;
        probe = best - 3;
        bytes = dtr_go_load32(here + probe);
    }
    return place < steps;
}

/* Searches a match that is longer than `best`. A longer match also has the four bytes that end one
 * behind `best`. After a match at the position before, far fewer candidates have these than have
 * the first four, so they come first. */
static match search(const encoder *self, size_t offset, uint32_t best, uint32_t limit)
{
    const uint8_t *base = self->plain + self->window_start;
    const uint32_t at = (uint32_t)(offset - self->window_start);
    const uint32_t reach = at < DTR_GO_DISTANCE_MAX ? 0 : at - DTR_GO_DISTANCE_MAX;
    match_search wanted = {&self->window,
                    base,
                    base + at,
                    at,
                    self->lowest > reach ? self->lowest : reach,
                    best,
                    limit,
                    {LENGTH_NONE, 0}};

    if (best > LENGTH_NONE && offset + best - 3 < window_end(self)) {
        if (walk(&wanted, best - 3, TAIL_STEPS))
            return wanted.longest;
    }
    walk(&wanted, 0, TRIES_MAX);
    return wanted.longest;
}

static inline size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Returns the number of positions to sort from an offset on. A hash reads four bytes. */
static size_t half_size(const encoder *self, size_t start)
{
    return smaller(self->size - smaller(self->size, start + 3), DTR_GO_HALF_SIZE);
}

static void append_window(encoder *self)
{
    const size_t start = window_end(self);

    dtr_go_window_append(&self->window, self->plain + start, half_size(self, start));
    self->window_start = start - self->window.newer_start;
}

static inline int moves_buffer(const encoder *self, uint64_t position)
{
    return position >= self->buffer + BUFFER_REACH && self->run->total > self->buffer + BUFFER_SIZE;
}

/* Moves buffer and window on, so that `offset` can be searched. Sets the edge: the next offset
 * where the buffer moves, the window ends, or plain bytes are missing. */
static int cross_edge(encoder *self, size_t offset)
{
    const uint64_t begin = self->run->begin;
    const int is_rest = self->size == self->total_size;
    /* A search reads as many bytes as the longest match has. */
    const size_t margin = is_rest ? 0 : smaller(self->size, DTR_GO_LENGTH_MAX - 1);
    const size_t shortage = self->size - margin;

    if (offset >= shortage)
        return is_rest ? DTR_REPLAY_ENDED : DTR_REPLAY_SHORT;
    while (moves_buffer(self, begin + offset))
        self->buffer += BUFFER_STRIDE;
    while (offset >= window_end(self))
        append_window(self);

    const uint64_t window_position = begin + self->window_start;
    const uint64_t move_position = self->buffer + BUFFER_REACH;

    self->lowest = self->buffer > window_position ? (uint32_t)(self->buffer - window_position) : 0;
    self->edge = smaller(shortage, window_end(self));
    if (moves_buffer(self, move_position) && move_position > begin)
        self->edge = smaller(self->edge, move_position - begin);
    return DTR_GO_ON;
}

static int stop(encoder *self)
{
    dtr_go_write_head(self->run, self->run->begin + self->block_start, &self->writer);
    self->run->state_size = DTR_GO_HEAD_SIZE;
    return DTR_REPLAY_STOPPED;
}

/* Writes the block that ends at an offset. */
static int close_block(encoder *self, size_t end)
{
    const size_t start = self->block_start;

    dtr_go_write_smallest(&self->writer, &self->tokens, self->plain + start, end - start,
                          self->run->begin + start >= self->buffer);
    dtr_go_tokens_clear(&self->tokens);
    self->block_start = end;
    if (self->writer.is_full)
        return DTR_REPLAY_FULL;
    if (end < self->total_size && self->run->begin + end >= self->run->stop)
        return stop(self);
    return DTR_GO_ON;
}

static int end_stream(encoder *self, int is_pending)
{
    if (is_pending)
        dtr_go_add_literal(&self->tokens, self->plain[self->size - 1]);
    if (self->tokens.size > 0)
        close_block(self, self->size);
    dtr_go_write_end(&self->writer);
    self->run->position = self->run->total;
    return self->writer.is_full ? DTR_REPLAY_FULL : DTR_REPLAY_ENDED;
}

static inline int close_if_full(encoder *self, size_t end)
{
    return self->tokens.size == BLOCK_TOKENS ? close_block(self, end) : DTR_GO_ON;
}

/* Returns a match at an offset that is longer than the one at the offset before, if that one is
 * short. */
static inline match search_longer(const encoder *self, size_t offset, match before)
{
    const size_t left = self->total_size - offset;

    if (before.length >= LENGTH_LAZY || left <= before.length)
        return (match){LENGTH_NONE, 0};
    return search(self, offset, before.length,
                  left < DTR_GO_LENGTH_MAX ? (uint32_t)left : DTR_GO_LENGTH_MAX);
}

/* Parses and writes from the start of a block on. */
static int encode(encoder *self)
{
    size_t offset = self->block_start;
    match before = {LENGTH_NONE, 0}; /* found at the offset before */
    int is_pending = 0;              /* the offset before has no token yet */
    int result = DTR_GO_ON;

    while (result == DTR_GO_ON) {
        if (offset >= self->edge && (result = cross_edge(self, offset)) != DTR_GO_ON)
            return result == DTR_REPLAY_ENDED ? end_stream(self, is_pending) : result;

        const match now = search_longer(self, offset, before);
        if (before.length > LENGTH_NONE && now.length <= before.length) {
            dtr_go_add_match(&self->tokens, before.length, before.distance);
            offset += before.length - 1;
            is_pending = 0;
            before = (match){LENGTH_NONE, 0};
            result = close_if_full(self, offset);
            continue;
        }
        if (is_pending) {
            dtr_go_add_literal(&self->tokens, self->plain[offset - 1]);
            result = close_if_full(self, offset);
        }
        offset++;
        is_pending = 1;
        before = now;
    }
    return result;
}

/* Returns the position at which Go's buffer begins when a position is next. */
static uint64_t buffer_at(uint64_t position, uint64_t total)
{
    if (position < BUFFER_REACH || total <= BUFFER_SIZE)
        return 0;

    const uint64_t moves = (position - (BUFFER_REACH - BUFFER_STRIDE)) / BUFFER_STRIDE;
    const uint64_t moves_max = (total - 1) / BUFFER_STRIDE - 1;

    return BUFFER_STRIDE * (moves < moves_max ? moves : moves_max);
}

/* Goes to the checkpoint, and sorts the bytes before it. */
static int start(encoder *self)
{
    const dtr_replay *run = self->run;
    uint64_t position;

    if ((run->state_size != 0 && run->state_size != DTR_GO_HEAD_SIZE) ||
        !dtr_go_read_head(run, DTR_GO_DEFAULT_HISTORY, &position, &self->writer))
        return DTR_REPLAY_INVALID;
    self->block_start = position - run->begin;
    self->window_start = self->block_start - smaller(self->block_start, DTR_GO_HALF_SIZE);
    self->buffer = buffer_at(position, run->total);
    self->edge = 0;
    dtr_go_tokens_clear(&self->tokens);
    dtr_go_window_start(&self->window, self->plain + self->window_start,
                        half_size(self, self->window_start));
    return DTR_GO_ON;
}

int dtr_go_default_run(dtr_replay *run)
{
    encoder *self = malloc(sizeof *self);
    int result;

    if (self == NULL)
        return DTR_REPLAY_MEMORY;
    self->run = run;
    self->plain = run->plain;
    self->size = run->end - run->begin;
    self->total_size = run->total - run->begin;
    self->writer = (dtr_bits){run->out, run->out + run->out_capacity, 0, 0, 0};
    self->tokens.tokens = self->token_room;
    result = start(self);
    if (result == DTR_GO_ON)
        result = encode(self);
    run->out_size = (size_t)(self->writer.at - run->out);
    free(self);
    return result;
}
