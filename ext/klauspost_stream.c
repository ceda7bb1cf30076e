/* Streams without pgzip, as Go 1.27 writes them: one history, cut into chunks of 65535 bytes. Each
 * chunk's end but the last is a checkpoint. */
#include "klauspost.h"
#include "klauspost_blocks.h"
#include "klauspost_state.h"

#include <stdlib.h>

/* The number is never used for another layout. */
#define STATE_MAGIC UINT32_C(0x31706b67) /* "gkp1" */

/* Positions in the tables have 32 bits, and empty entries are far below them. */
#define WINDOW_SIZE_MAX (1 << 29)

_Static_assert(sizeof(dtr_kp_state) <= DTR_REPLAY_STATE_MAX, "a state fits");

typedef struct {
    uint32_t id;
    int map_count;
    dtr_kp_search *search;
} stream_encoder;

/* Checks the fields that tell where the run begins, and sets its position. */
static int load_position(dtr_replay *run, const stream_encoder *encoder, const dtr_kp_state *state)
{
    run->position = 0;
    if (run->state_size != 0) {
        if (run->state_size != dtr_kp_state_size(encoder->map_count))
            return DTR_REPLAY_INVALID;
        run->position = state->position;
        if (state->magic != STATE_MAGIC || state->encoder != encoder->id || run->position == 0 ||
            run->position % DTR_KP_CHUNK_SIZE != 0 || run->position >= run->total)
            return DTR_REPLAY_INVALID;
    }
    const uint64_t history = run->position == 0 ? 0 : DTR_KP_WINDOW;
    if (run->begin > run->end || run->end > run->total || run->begin > run->position - history ||
        run->end - run->begin > WINDOW_SIZE_MAX)
        return DTR_REPLAY_INVALID;
    return run->position > run->end ? DTR_REPLAY_SHORT : DTR_REPLAY_STOPPED;
}

/* Writes chunks up to a checkpoint or the end. `origin` is the offset of position 0. */
static int write_segment(dtr_kp_work *work, dtr_replay *run, dtr_kp_search *search,
                         uint64_t origin)
{
    while (run->position < run->total) {
        const uint64_t rest = run->total - run->position;
        const int is_last = rest <= DTR_KP_CHUNK_SIZE;
        const int32_t size = is_last ? (int32_t)rest : DTR_KP_CHUNK_SIZE;
        const int32_t start = (int32_t)(run->position - origin);

        if (run->end - run->position < (uint64_t)size)
            return DTR_REPLAY_SHORT;
        if (work->writer.bits.is_full)
            return DTR_REPLAY_FULL;
        dtr_kp_encode_chunk(work, search, run->plain + (origin - run->begin), start, start + size,
                            is_last);
        run->position += (uint64_t)size;
        if (run->position >= run->stop && !is_last)
            return DTR_REPLAY_STOPPED;
    }
    dtr_kp_end(&work->writer);
    return DTR_REPLAY_ENDED;
}

static int run_loaded(dtr_kp_work *work, dtr_replay *run, const stream_encoder *encoder,
                      dtr_kp_state *state)
{
    const uint64_t origin = run->position == 0 ? 0 : run->position - DTR_KP_WINDOW;
    int result;

    if (run->position == 0)
        dtr_kp_tables_clear(&work->tables);
    else if (!dtr_kp_state_load(state, encoder->map_count, &work->writer, &work->tables,
                                run->plain + (origin - run->begin), DTR_KP_WINDOW))
        return DTR_REPLAY_INVALID;
    result = write_segment(work, run, encoder->search, origin);
    if (result <= DTR_REPLAY_ENDED && work->writer.bits.is_full)
        return DTR_REPLAY_FULL;
    run->out_size = (size_t)(work->writer.bits.at - run->out);
    if (result == DTR_REPLAY_STOPPED) {
        dtr_kp_state_save(state, encoder->map_count, &work->writer, &work->tables,
                          run->plain + (origin - run->begin), (int32_t)(run->position - origin));
        state->magic = STATE_MAGIC;
        state->encoder = encoder->id;
        state->position = run->position;
        run->state_size = dtr_kp_state_size(encoder->map_count);
        memcpy(run->state, state, run->state_size);
    }
    return result;
}

static int run_stream(dtr_replay *run, const stream_encoder *encoder)
{
    dtr_kp_state state;
    dtr_kp_work *work;
    int result;

    memset(&state, 0, sizeof state);
    memcpy(&state, run->state, run->state_size < sizeof state ? run->state_size : sizeof state);
    result = load_position(run, encoder, &state);
    if (result != DTR_REPLAY_STOPPED)
        return result;
    work = dtr_kp_work_new(run->out, run->out_capacity, (dtr_kp_rules){0});
    if (work == NULL)
        return DTR_REPLAY_MEMORY;
    result = run_loaded(work, run, encoder, &state);
    free(work);
    return result;
}

int dtr_go127_run_default(dtr_replay *run)
{
    static const stream_encoder encoder = {DTR_ID_GO127_DEFAULT, DTR_KP_MAPS_LEVEL6,
                                           dtr_kp_search_level6};

    return run_stream(run, &encoder);
}

int dtr_go127_run_best_speed(dtr_replay *run)
{
    static const stream_encoder encoder = {DTR_ID_GO127_BEST_SPEED, DTR_KP_MAPS_LEVEL1,
                                           dtr_kp_search_level1};

    return run_stream(run, &encoder);
}
