/* The lazy parse of zlib, gzip and pigz at level 6 (docs/encoders.md, zlib). It cuts a part of the
 * plain bytes into blocks of tokens. Streams of zlib and gzip are one part. */
#ifndef DTR_ZLIB_PARSE_H
#define DTR_ZLIB_PARSE_H

#include "zlib_match.h"

/* A step reads so many bytes from its position on. */
#define DTR_ZLIB_STEP_SIZE DTR_DEFLATE_LENGTH_MAX

/* The end of the plain bytes is parsed from a copy, so that reads of 8 bytes need no check. Steps
 * that begin before it read at most this number of bytes. */
#define DTR_ZLIB_TAIL 288
/* The copy begins with the two blocks that have candidates. */
#define DTR_ZLIB_TAIL_HISTORY (2 * DTR_ZLIB_WINDOW_STEP)

#define DTR_ZLIB_TOKENS_MAX 32767

/* The differences between the encoders. */
typedef struct {
    uint32_t tokens_max; /* of a block */
    /* gzip: a block may end early at multiples of this number of tokens; 0: never */
    uint32_t tokens_check;
    /* gzip: matches go on behind the end of the stream, and are cut later; the window stays */
    int passes_end;
} dtr_zlib_rules;

/* Plain bytes, by absolute offsets. */
typedef struct {
    const uint8_t *plain;
    uint64_t begin, end, total;
} dtr_zlib_input;

/* The state of the parse between two steps. */
typedef struct {
    const uint8_t *here;    /* the position of the step */
    const uint8_t *pause;   /* at it or behind it, a step needs a preparation */
    uint64_t left;          /* bytes up to the end of the part */
    uint32_t at;            /* the position in the window, from its base on */
    uint32_t distance_max;  /* 0: no search */
    uint32_t length_max, nice;
    uint32_t tokens, tokens_matched; /* in the block: all, and those up to the last match */
    dtr_zlib_match previous; /* at the position before, where `is_pending` */
    int is_pending;          /* the byte before the position belongs to no token yet */
} dtr_zlib_cursor;

typedef struct {
    dtr_zlib_rules rules;
    dtr_zlib_input input;
    dtr_zlib_cursor cursor;
    uint64_t part_end;
    uint64_t block_start;
    uint32_t tokens_next; /* the block's end is looked at with this number of tokens */
    uint32_t sequence_count;
    uint32_t sequences_weighed; /* of them are in `matches_size`, in bits */
    uint32_t matches_size;
    int is_frozen;   /* gzip: the window does not move any more */
    int is_storable; /* the window has the block's first byte */
    int is_in_tail;
    const uint8_t *readable_end; /* no step may begin at it or behind it */
    uint64_t tail_start;
    uint64_t index_end; /* the end of the index's current block */
    dtr_zlib_index index;
    dtr_sequence sequences[DTR_ZLIB_TOKENS_MAX];
    uint8_t tail[DTR_ZLIB_TAIL_HISTORY + 2 * DTR_ZLIB_TAIL];
} dtr_zlib_parser;

enum {
    DTR_ZLIB_BLOCK_END, /* the block has all its tokens */
    DTR_ZLIB_PART_END,  /* and so has the part; the block may have none */
    DTR_ZLIB_SHORT,     /* more plain bytes are needed */
};

/* Begins a part at `position`, or goes on there, in the middle of it. The first block starts with
 * the byte that `is_pending`, or at the position. */
void dtr_zlib_parse_start(dtr_zlib_parser *parser, uint64_t position, uint64_t part_end,
                          int is_pending, dtr_zlib_match previous);

/* Parses up to the end of a block. */
int dtr_zlib_parse(dtr_zlib_parser *parser);

/* Returns the position of the next step. */
static inline uint64_t dtr_zlib_position(const dtr_zlib_parser *parser)
{
    return parser->part_end - parser->cursor.left;
}

/* Begins the next block, behind the last token. */
void dtr_zlib_parse_next(dtr_zlib_parser *parser);

#endif
