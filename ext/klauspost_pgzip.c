/* The streams of pgzip: parts of 1 MiB, each compressed on its own with the end of the part before
 * it as dictionary. Each boundary of parts is a checkpoint, whose state is its position alone. */
#include "klauspost.h"
#include "klauspost_blocks.h"

#include <stdlib.h>

#define PART_SIZE (UINT64_C(1) << 20)

/* The state of a checkpoint. The number is never used for another layout. */
#define STATE_MAGIC UINT32_C(0x317a6770) /* "pgz1" */

typedef struct {
    uint32_t magic, encoder;
    uint64_t position;
} pgzip_state;

/* Reads the position from the state. The bytes before it must have the dictionary. */
static int load_state(const dtr_replay *run, uint32_t encoder, uint64_t *position)
{
    pgzip_state state;

    *position = 0;
    if (run->state_size != 0) {
        if (run->state_size != sizeof state)
            return DTR_REPLAY_INVALID;
        memcpy(&state, run->state, sizeof state);
        *position = state.position;
        if (state.magic != STATE_MAGIC || state.encoder != encoder || *position == 0 ||
            *position % PART_SIZE != 0 || *position >= run->total)
            return DTR_REPLAY_INVALID;
    }
    const uint64_t history = *position < DTR_PGZIP_HISTORY ? *position : DTR_PGZIP_HISTORY;
    if (run->begin > run->end || run->end > run->total || run->begin > *position - history)
        return DTR_REPLAY_INVALID;
    return *position > run->end ? DTR_REPLAY_SHORT : DTR_REPLAY_STOPPED;
}

static void save_state(dtr_replay *run, uint32_t encoder)
{
    const pgzip_state state = {STATE_MAGIC, encoder, run->position};

    memcpy(run->state, &state, sizeof state);
    run->state_size = sizeof state;
}

/* Writes a part and the flush behind it: an empty stored block. The history begins with the
 * dictionary. */
static void write_part(dtr_kp_work *work, const uint8_t *history, int32_t dictionary_size,
                       int32_t end)
{
    dtr_bits *bits = &work->writer.bits;

    dtr_kp_tables_clear(&work->tables);
    dtr_kp_search_level5(&work->tables, history, 0, dictionary_size, &work->matches);
    for (int32_t start = dictionary_size; start < end; start += DTR_KP_CHUNK_SIZE) {
        const int is_last = end - start <= DTR_KP_CHUNK_SIZE;
        dtr_kp_encode_chunk(work, dtr_kp_search_level5, history, start,
                            is_last ? end : start + DTR_KP_CHUNK_SIZE, is_last);
    }
    dtr_bits_put(bits, 0, 3);
    dtr_bits_align(bits);
    dtr_bits_put(bits, UINT64_C(0xffff0000), 32);
    dtr_bits_flush(bits);
}

static int write_segment(dtr_kp_work *work, dtr_replay *run)
{
    dtr_bits *bits = &work->writer.bits;

    for (;;) {
        const uint64_t position = run->position, rest = run->total - position;
        const uint32_t size = (uint32_t)(rest < PART_SIZE ? rest : PART_SIZE);
        const int32_t dictionary_size = position == 0 ? 0 : DTR_PGZIP_HISTORY;

        if (run->end - position < size)
            return DTR_REPLAY_SHORT;
        if (bits->is_full)
            return DTR_REPLAY_FULL;
        write_part(work, run->plain + (position - run->begin) - dictionary_size, dictionary_size,
                   dictionary_size + (int32_t)size);
        run->position = position + size;
        if (size < PART_SIZE)
            break; /* a stream ends with a part that is not full, and may be empty */
        if (run->position >= run->stop && run->position < run->total)
            return DTR_REPLAY_STOPPED;
    }
    dtr_kp_end(&work->writer);
    return DTR_REPLAY_ENDED;
}

static int run_pgzip(dtr_replay *run, uint32_t encoder, dtr_kp_rules rules)
{
    dtr_kp_work *work;
    int result = load_state(run, encoder, &run->position);

    if (result != DTR_REPLAY_STOPPED)
        return result;
    work = dtr_kp_work_new(run->out, run->out_capacity, rules);
    if (work == NULL)
        return DTR_REPLAY_MEMORY;
    result = write_segment(work, run);
    if (result <= DTR_REPLAY_ENDED && work->writer.bits.is_full)
        result = DTR_REPLAY_FULL;
    run->out_size = (size_t)(work->writer.bits.at - run->out);
    if (result == DTR_REPLAY_STOPPED)
        save_state(run, encoder);
    free(work);
    return result;
}

int dtr_pgzip_run_k2(dtr_replay *run)
{
    return run_pgzip(run, DTR_ID_PGZIP_K2, (dtr_kp_rules){0});
}

int dtr_pgzip_run_k1(dtr_replay *run)
{
    return run_pgzip(run, DTR_ID_PGZIP_K1,
                     (dtr_kp_rules){.has_full_headers = 1, .ignores_end_cost = 1});
}

int dtr_pgzip_run_k3(dtr_replay *run)
{
    return run_pgzip(run, DTR_ID_PGZIP_K3,
                     (dtr_kp_rules){.prefers_leaves = 1, .searches_short = 1});
}

int dtr_pgzip_run_k2a(dtr_replay *run)
{
    return run_pgzip(run, DTR_ID_PGZIP_K2A, (dtr_kp_rules){.ignores_end_cost = 1});
}
