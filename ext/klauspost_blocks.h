/* Writes chunks as blocks, as the klauspost encoders do (docs/encoders.md, Klauspost). A dynamic
 * block may stay open from chunk to chunk. */
#ifndef DTR_KLAUSPOST_BLOCKS_H
#define DTR_KLAUSPOST_BLOCKS_H

#include "bit_writer.h"
#include "klauspost_match.h"

/* The differences between versions of the encoder. All zero: 1.18.2 to 1.20.3. */
typedef struct {
    uint8_t has_full_headers; /* an open block's header lists all symbols, also unused ones */
    uint8_t ignores_end_cost; /* the end of an open block costs nothing in one comparison */
    uint8_t prefers_leaves;   /* symbols win ties against merged pairs */
    uint8_t searches_short;   /* a short last chunk is searched like others */
} dtr_kp_rules;

#define DTR_KP_LITERAL_CODES 286
#define DTR_KP_DISTANCE_CODES 30

typedef struct {
    /* The fixed code has two more symbols, which no stream uses. */
    uint8_t literal_lengths[DTR_KP_LITERAL_CODES + 2], distance_lengths[DTR_KP_DISTANCE_CODES];
    uint16_t literals[DTR_KP_LITERAL_CODES + 2], distances[DTR_KP_DISTANCE_CODES];
} dtr_kp_code;

enum { DTR_KP_CLOSED, DTR_KP_OPEN_LITERALS, DTR_KP_OPEN_FULL };

typedef struct {
    dtr_bits bits;
    dtr_kp_rules rules;
    int open;             /* whether a block is open, and whether its code has matches */
    uint32_t header_size; /* of the open block, in bits */
    dtr_kp_code code;     /* of the open block */
} dtr_kp_writer;

typedef struct {
    const uint8_t *bytes;
    uint32_t size;
    int is_last; /* its block is closed */
} dtr_kp_chunk;

/* The memory of a run. */
typedef struct {
    dtr_kp_writer writer;
    dtr_kp_matches matches;
    dtr_kp_tables tables;
} dtr_kp_work;

/* Returns the memory for a run that writes to `out`, with no block open, or NULL. The tables are not
 * set. */
dtr_kp_work *dtr_kp_work_new(uint8_t *out, size_t out_capacity, dtr_kp_rules rules);

/* Searches and writes the chunk from `start` to `end` of the history. */
void dtr_kp_encode_chunk(dtr_kp_work *work, dtr_kp_search *search, const uint8_t *history,
                         int32_t start, int32_t end, int is_last);

/* Ends the stream: a last fixed block without tokens. */
void dtr_kp_end(dtr_kp_writer *writer);

/* Sets the header's size of the open block, and its codes, from their lengths. */
void dtr_kp_code_restore(dtr_kp_writer *writer);

#endif
