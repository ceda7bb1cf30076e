/* Go's deflate encoder up to Go 1.26, level best-speed (docs/encoders.md, section 3). */
#include "go_best_speed.h"

#include "go_block.h"
#include "go_match.h"
#include "go_state.h"

#include <stdlib.h>

/* Each chunk becomes one block: no stored block is longer. */
#define CHUNK_SIZE DTR_GO_STORED_SIZE_MAX

/* A last chunk that is shorter is stored at once, or has no matches. */
#define CODED_SIZE_MIN 17
#define MATCHED_SIZE_MIN 128

/* The search ends this many bytes before the end of the chunk. */
#define MARGIN 15

/* The bits of a hash, and the steps of a scan at each distance between two positions. */
#define HASH_BITS 14
#define SCAN_STEPS 32

/* A slot holds a position in the chunk plus this number; 0 is an empty slot. Positions of the chunk
 * before are below it, and those in reach are not below half of it. So an empty slot is out of
 * reach. */
#define SLOT_BIAS 65536

/* A checkpoint: the head, and one bit for each of the 32768 positions before. The bit is set if the
 * table holds the position. The last positions are never in the table, because no scan gets
 * there. */
#define STATE_SIZE (DTR_GO_HEAD_SIZE + DTR_GO_DISTANCE_MAX / 8)
#define UNSEEN_SIZE MARGIN

typedef struct {
    dtr_replay *run;
    const uint8_t *plain; /* of the chunk */
    size_t size;          /* of the plain bytes that are there, from the chunk on */
    uint64_t position;    /* of the chunk */
    dtr_bits writer;
    dtr_go_tokens tokens;
    uint32_t token_room[CHUNK_SIZE];
    uint32_t table[1 << HASH_BITS];
} encoder;

static inline uint32_t *slot_of(encoder *self, uint32_t value)
{
    return &self->table[(value * DTR_GO_HASH_FACTOR) >> (32 - HASH_BITS)];
}

static inline void insert(encoder *self, uint32_t at)
{
    *slot_of(self, dtr_go_load32(self->plain + at)) = at + SLOT_BIAS;
}

/* Inserts a position. Returns the distance to the one that had the slot, or 0 if its four bytes are
 * others. */
static inline uint32_t replace(encoder *self, uint32_t at)
{
    const uint8_t *here = self->plain + at;
    const uint32_t value = dtr_go_load32(here);
    uint32_t *slot = slot_of(self, value);
    const uint32_t distance = at + SLOT_BIAS - *slot;

    *slot = at + SLOT_BIAS;
    if (distance > DTR_GO_DISTANCE_MAX || dtr_go_load32(here - distance) != value)
        return 0;
    return distance;
}

static void add_literals(encoder *self, uint32_t start, uint32_t end)
{
    for (uint32_t at = start; at < end; at++)
        dtr_go_add_literal(&self->tokens, self->plain[at]);
}

/* Looks for a match from a position on, in steps that grow. Returns its distance, or 0 at the end
 * of the scan, and sets the position. */
static inline uint32_t scan(encoder *self, uint32_t start, uint32_t end, uint32_t *found)
{
    uint32_t step = SCAN_STEPS, next = start, distance = 0;

    while (distance == 0) {
        *found = next;
        next += step / SCAN_STEPS;
        step += step / SCAN_STEPS;
        if (next > end)
            return 0;
        distance = replace(self, *found);
    }
    return distance;
}

/* Makes the tokens of a chunk. */
static void parse(encoder *self, uint32_t size)
{
    const uint32_t end = size - MARGIN;
    uint32_t at, start = 0, done = 0; /* the bytes in front of `done` have tokens */
    uint32_t distance = scan(self, start, end, &at);

    while (distance > 0) {
        const uint32_t left = size - at;
        const uint32_t limit = left < DTR_GO_LENGTH_MAX ? left : DTR_GO_LENGTH_MAX;
        const uint8_t *here = self->plain + at;
        const uint32_t length = dtr_go_match_length(here - distance, here, limit);

        add_literals(self, done, at);
        dtr_go_add_match(&self->tokens, length, distance);
        done = at += length;
        if (at >= end)
            break;
        insert(self, at - 1);
        distance = replace(self, at);
        if (distance == 0)
            distance = scan(self, at + 1, end, &at);
    }
    add_literals(self, done, size);
}

/* Writes one chunk as one block. */
static void write_chunk(encoder *self, uint32_t size)
{
    if (size < CODED_SIZE_MIN) {
        dtr_go_write_stored(&self->writer, self->plain, size);
        return;
    }
    dtr_go_tokens_clear(&self->tokens);
    if (size >= MATCHED_SIZE_MIN)
        parse(self, size);
    /* Too few matches: the block gets none. */
    if (size < MATCHED_SIZE_MIN || self->tokens.size > size - size / 16) {
        dtr_go_tokens_clear(&self->tokens);
        add_literals(self, 0, size);
    }
    dtr_go_write_dynamic_or_stored(&self->writer, &self->tokens, self->plain, size);
}

/* Makes the chunk behind this full one the current one. */
static void pass_chunk(encoder *self)
{
    self->plain += CHUNK_SIZE;
    self->size -= CHUNK_SIZE;
    self->position += CHUNK_SIZE;
    for (size_t slot = 0; slot < 1 << HASH_BITS; slot++) {
        const uint32_t value = self->table[slot];

        self->table[slot] = value > CHUNK_SIZE ? value - CHUNK_SIZE : 0;
    }
}

static int stop(encoder *self)
{
    dtr_replay *run = self->run;

    memset(run->state, 0, STATE_SIZE);
    dtr_go_write_head(run, self->position, &self->writer);
    run->state_size = STATE_SIZE;
    for (size_t slot = 0; slot < 1 << HASH_BITS; slot++) {
        const uint32_t bit = self->table[slot] - (SLOT_BIAS - DTR_GO_DISTANCE_MAX);

        if (bit < DTR_GO_DISTANCE_MAX)
            run->state[DTR_GO_HEAD_SIZE + bit / 8] |= (uint8_t)(1 << bit % 8);
    }
    return DTR_REPLAY_STOPPED;
}

/* Encodes one chunk. */
static int encode_chunk(encoder *self)
{
    const dtr_replay *run = self->run;
    const uint64_t left = run->total - self->position;

    if (self->size < CHUNK_SIZE && self->size < left)
        return DTR_REPLAY_SHORT;
    if (left > 0)
        write_chunk(self, left < CHUNK_SIZE ? (uint32_t)left : CHUNK_SIZE);
    if (left <= CHUNK_SIZE) {
        dtr_go_write_end(&self->writer);
        self->run->position = run->total;
        return self->writer.is_full ? DTR_REPLAY_FULL : DTR_REPLAY_ENDED;
    }
    pass_chunk(self);
    if (self->writer.is_full)
        return DTR_REPLAY_FULL;
    return self->position >= run->stop ? stop(self) : DTR_GO_ON;
}

/* Fills the table from the map of a state. Two positions in one slot contradict each other. */
static int read_map(encoder *self, const uint8_t *map)
{
    for (uint32_t bit = 0; bit < DTR_GO_DISTANCE_MAX; bit++) {
        if ((map[bit / 8] >> bit % 8 & 1) == 0)
            continue;
        if (bit >= DTR_GO_DISTANCE_MAX - UNSEEN_SIZE)
            return DTR_REPLAY_INVALID;

        const uint32_t before = DTR_GO_DISTANCE_MAX - bit;
        uint32_t *slot = slot_of(self, dtr_go_load32(self->plain - before));
        if (*slot != 0)
            return DTR_REPLAY_INVALID;
        *slot = SLOT_BIAS - before;
    }
    return DTR_GO_ON;
}

/* Goes to the checkpoint, and fills the table. */
static int start(encoder *self)
{
    const dtr_replay *run = self->run;

    if ((run->state_size != 0 && run->state_size != STATE_SIZE) ||
        !dtr_go_read_head(run, DTR_GO_BEST_SPEED_HISTORY, &self->position, &self->writer) ||
        self->position % CHUNK_SIZE != 0)
        return DTR_REPLAY_INVALID;
    self->plain += self->position - run->begin;
    self->size -= self->position - run->begin;
    memset(self->table, 0, sizeof self->table);
    return run->state_size == 0 ? DTR_GO_ON : read_map(self, run->state + DTR_GO_HEAD_SIZE);
}

int dtr_go_best_speed_run(dtr_replay *run)
{
    encoder *self = malloc(sizeof *self);
    int result;

    if (self == NULL)
        return DTR_REPLAY_MEMORY;
    self->run = run;
    self->plain = run->plain;
    self->size = run->end - run->begin;
    self->writer = (dtr_bits){run->out, run->out + run->out_capacity, 0, 0, 0};
    self->tokens.tokens = self->token_room;
    result = start(self);
    while (result == DTR_GO_ON)
        result = encode_chunk(self);
    run->out_size = (size_t)(self->writer.at - run->out);
    free(self);
    return result;
}
