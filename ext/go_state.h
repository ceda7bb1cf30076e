/* The part of a checkpoint that both levels of Go's deflate encoder have: 8 bytes for the position,
 * the number of pending bits, and these bits. */
#ifndef DTR_GO_STATE_H
#define DTR_GO_STATE_H

#include "bit_writer.h"
#include "replay.h"

#include <stdint.h>
#include <string.h>

#define DTR_GO_HEAD_SIZE 10

/* The result of a step after which the run goes on. Others are results of a run. */
#define DTR_GO_ON (-1)

static inline void dtr_go_write_head(dtr_replay *run, uint64_t position, const dtr_bits *writer)
{
    run->position = position;
    memcpy(run->state, &position, 8); /* little-endian machines only, as the package */
    run->state[8] = (uint8_t)writer->count;
    run->state[9] = (uint8_t)writer->bits;
}

/* Reads the position at which the run begins, and the pending bits. Returns whether they are
 * possible, and the window has all bytes of the history. A run without a state begins at 0. */
static inline int dtr_go_read_head(const dtr_replay *run, uint32_t history, uint64_t *position,
                                   dtr_bits *writer)
{
    if (run->begin > run->end || run->end > run->total || run->total > INT64_MAX)
        return 0;
    *position = 0;
    if (run->state_size == 0)
        return run->begin == 0;
    memcpy(position, run->state, 8);
    writer->count = run->state[8];
    writer->bits = run->state[9];
    /* A stream that is complete has no checkpoint at its end. */
    if (*position == 0 || *position >= run->total || writer->count > 7 ||
        writer->bits >> writer->count != 0)
        return 0;
    return run->begin <= *position - (*position < history ? *position : history) &&
           run->end >= *position;
}

#endif
