/* Re-creates deflate streams by running the encoder that made them.
 *
 * An encoder has a frozen id: for equal plain bytes its output never changes. A changed output is a
 * new id, and old ids stay. docs/encoders.md specifies each encoder bit by bit.
 *
 * A run produces one segment of a stream. It begins at the start of the stream or at a checkpoint,
 * and ends at the next checkpoint that the caller accepts, or at the end of the stream. The bytes of
 * all segments, back to back, are the deflate stream (RFC 1951).
 */
#ifndef DTR_REPLAY_H
#define DTR_REPLAY_H

#include <stddef.h>
#include <stdint.h>

/* The most bytes of a checkpoint's state. */
#define DTR_REPLAY_STATE_MAX 16384

enum {
    DTR_REPLAY_STOPPED, /* at a checkpoint: `state` and `position` are those of the next segment */
    DTR_REPLAY_ENDED,   /* the stream is complete */
    DTR_REPLAY_SHORT,   /* more plain bytes are needed behind `end` */
    DTR_REPLAY_FULL,    /* `out` has no room for the segment */
    DTR_REPLAY_INVALID, /* the state is not one of this encoder, or contradicts the other fields */
    DTR_REPLAY_MEMORY,  /* no memory */
};

/* The ids of encoders. They are in recipes on disk: none is ever changed, reused or removed. */
enum {
    DTR_ID_GO_DEFAULT = 1,
    DTR_ID_GO_BEST_SPEED = 2,
    DTR_ID_PGZIP_K2 = 3,
    DTR_ID_PGZIP_K1 = 4,
    DTR_ID_PGZIP_K3 = 5,
    DTR_ID_GO127_DEFAULT = 6,
    DTR_ID_GO127_BEST_SPEED = 7,
    DTR_ID_PGZIP_K2A = 8,
    DTR_ID_ZLIB = 9,
    DTR_ID_GNU_GZIP = 10,
    DTR_ID_PIGZ = 11,
};

/* One run. Offsets are absolute positions in the stream of plain bytes. After any result but
 * STOPPED and ENDED, the caller must start the run anew from its own copy of the state. */
typedef struct {
    /* The bytes from `begin` to `end`. At least the encoder's `history` bytes before the position of
     * the checkpoint must be there, or all from offset 0. They must not change during the run:
     * encoders read them several times. */
    const uint8_t *plain;
    uint64_t begin, end;
    uint64_t total; /* the length of the whole stream; end <= total */
    /* The run ends at the first checkpoint whose position is at or behind `stop`. At least the
     * encoder's `lookahead` bytes behind that position must be there, or all up to `total`. */
    uint64_t stop;
    uint64_t position; /* set by the run: where the segment ends */
    uint8_t *out;
    size_t out_capacity, out_size;
    size_t state_size; /* 0: the start of the stream */
    uint8_t state[DTR_REPLAY_STATE_MAX];
} dtr_replay;

typedef struct {
    uint32_t id;
    const char *name;
    /* Bytes before and behind a segment that decide its output. */
    uint32_t history, lookahead;
    int (*run)(dtr_replay *run);
} dtr_encoder;

/* Returns the encoder with this id, or NULL. */
const dtr_encoder *dtr_encoder_find(uint32_t id);

/* Returns the encoder at `index` of the list in order of ids, or NULL behind its end. */
const dtr_encoder *dtr_encoder_at(size_t index);

#endif
