/* Fuzzes the encoders of replay.h: whole, in segments from checkpoints, and from damaged states.
 *
 * The first octets of an input are its plan. The rest are steps that make the plain bytes: an input
 * of some hundred octets gives a stream of many blocks.
 */
#include "bytes.h"
#include "replay.h"

/* The plan: the encoder; the flags; and two octets that are the distance of the stops, or the
 * number of damaged octets of the state and the bounds of the run from it. */
#define PLAN_SIZE 4
#define DAMAGED 1  /* goes on from a damaged state */
#define REPEATED 2 /* repeats the plain bytes until they have checkpoints of parts */

/* The octets of one step: its kind, its size, and its argument. */
#define STEP_SIZE 4

/* Several blocks of each encoder, and a few runs in a millisecond. */
#define PLAIN_SIZE_MAX (1 << 17)

/* The parts of pgzip and pigz, whose ends are their only checkpoints. */
#define PGZIP_PART_SIZE (1 << 20)
#define PIGZ_PART_SIZE (1 << 17)

typedef struct {
    uint8_t *data;
    size_t size;
} bytes;

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Appends random octets of an alphabet, a copy from before, or one octet again and again. */
static void append_step(bytes *plain, const uint8_t *step)
{
    const size_t room = PLAIN_SIZE_MAX - plain->size;
    const size_t wanted = (size_t)1 << (step[0] >> 4) | step[1];
    const size_t size = wanted < room ? wanted : room;
    const size_t argument = (size_t)step[2] << 8 | step[3];
    uint32_t state = (uint32_t)argument + 1;

    for (size_t i = 0; i < size; i++, plain->size++) {
        uint8_t *at = plain->data + plain->size;

        if ((step[0] & 3) == 0)
            *at = next_random(&state) >> 16 & (0xff >> (step[0] >> 2 & 3));
        else if ((step[0] & 3) == 1 && argument < plain->size)
            *at = *(at - argument - 1);
        else
            *at = (step[0] & 3) == 2 ? step[2] : step[2 + (i & 1)];
    }
}

static bytes make_plain(const uint8_t *steps, size_t size)
{
    bytes plain = {malloc(PLAIN_SIZE_MAX), 0};

    assert(plain.data != NULL);
    for (; size >= STEP_SIZE; size -= STEP_SIZE, steps += STEP_SIZE)
        append_step(&plain, steps);
    return plain;
}

/* Repeats the bytes, so that the stream has a checkpoint and ends at any place of the next part. */
static void repeat(bytes *plain, size_t part_size)
{
    const size_t size = plain->size + part_size, once = plain->size;

    if (part_size == 0 || once == 0)
        return;
    plain->data = realloc(plain->data, size);
    assert(plain->data != NULL);
    while (plain->size < size) {
        const size_t rest = size - plain->size;

        memcpy(plain->data + plain->size, plain->data, once < rest ? once : rest);
        plain->size += once < rest ? once : rest;
    }
}

static size_t part_size_of(const dtr_encoder *encoder)
{
    switch (encoder->id) {
    case DTR_ID_PGZIP_K1:
    case DTR_ID_PGZIP_K2:
    case DTR_ID_PGZIP_K2A:
    case DTR_ID_PGZIP_K3:
        return PGZIP_PART_SIZE;
    case DTR_ID_PIGZ:
        return PIGZ_PART_SIZE;
    default:
        return 0; /* has checkpoints in short streams */
    }
}

/* Runs from the state in `run` up to a stop, on a copy of the bytes from `begin` to `end`. Appends
 * to `out`, which has room, and checks that nothing else is claimed. */
static int run_segment(const dtr_encoder *encoder, dtr_replay *run, const bytes *plain,
                       uint64_t begin, uint64_t end, size_t room, bytes *out)
{
    uint8_t *copy = copy_exactly(plain->data + begin, end - begin);
    uint8_t *segment = malloc(room ? room : 1);

    assert(segment != NULL);
    run->plain = copy;
    run->begin = begin;
    run->end = end;
    run->out = segment;
    run->out_capacity = room;
    const int result = encoder->run(run);
    if (result == DTR_REPLAY_STOPPED || result == DTR_REPLAY_ENDED) {
        assert(run->out_size <= room && run->state_size <= DTR_REPLAY_STATE_MAX);
        assert(run->position <= end && (result == DTR_REPLAY_ENDED || run->position >= run->stop));
        memcpy(out->data + out->size, segment, run->out_size);
        out->size += run->out_size;
    }
    free(segment);
    free(copy);
    return result;
}

static bytes make_out(size_t plain_size)
{
    bytes out = {malloc(2 * plain_size + 1000), 0};

    assert(out.data != NULL);
    return out;
}

static dtr_replay *new_run(const bytes *plain, uint64_t stop)
{
    dtr_replay *run = calloc(1, sizeof *run);

    assert(run != NULL);
    run->total = plain->size;
    run->stop = stop;
    return run;
}

/* Runs each segment on as few bytes as it needs, and compares with the whole stream. */
static void check_segments(const dtr_encoder *encoder, const bytes *plain, uint64_t stride,
                           const bytes *whole)
{
    dtr_replay *run = new_run(plain, 0);
    bytes out = make_out(plain->size);
    uint64_t position = 0, size = stride + encoder->lookahead;
    int result = DTR_REPLAY_SHORT;

    while (result != DTR_REPLAY_ENDED) {
        dtr_replay saved = *run;
        const uint64_t begin = position > encoder->history ? position - encoder->history : 0;
        const uint64_t left = plain->size - position;

        run->stop = position + stride;
        result = run_segment(encoder, run, plain, begin, position + (size < left ? size : left),
                             2 * plain->size + 1000, &out);
        if (result == DTR_REPLAY_SHORT) {
            assert(size < left);
            size *= 2;
            *run = saved;
        } else {
            assert(result == DTR_REPLAY_STOPPED || result == DTR_REPLAY_ENDED);
            assert(result == DTR_REPLAY_ENDED || run->position > position);
            position = run->position;
        }
    }
    assert(position == plain->size && out.size == whole->size);
    assert(memcmp(out.data, whole->data, out.size) == 0);
    free(out.data);
    free(run);
}

/* Changes octets of a state, and shortens some: three octets of damage are a place and a change. */
static void damage_state(dtr_replay *run, const uint8_t *damage, size_t size)
{
    for (size_t i = 0; i + 3 <= size && run->state_size > 0; i += 3) {
        const size_t place = (size_t)damage[i] << 8 | damage[i + 1];

        if (place % 64 == 63)
            run->state_size--;
        else
            run->state[place % run->state_size] ^= damage[i + 2];
    }
}

/* Sets the stop and the total from an octet of the plan, and returns the end of the window. The
 * total may be anything that a recipe says; the end may be before the checkpoint. */
static uint64_t choose_bounds(dtr_replay *run, const bytes *plain, uint64_t begin, uint8_t octet)
{
    const uint64_t end = plain->size - (plain->size - begin) * (octet & 15) / 15;
    const uint64_t totals[] = {plain->size, end, UINT64_C(1) << 62, run->position};
    const uint64_t stops[] = {0, end, run->position + 1, UINT64_MAX};

    run->total = totals[octet >> 4 & 3];
    run->stop = stops[octet >> 6];
    return end;
}

/* Goes on from a damaged state: any result is right, if the run stays in its bounds. */
static void check_damaged(const dtr_encoder *encoder, const bytes *plain, uint8_t bounds,
                          const uint8_t *damage, size_t size)
{
    dtr_replay *run = new_run(plain, 0);
    bytes out = make_out(plain->size);

    if (run_segment(encoder, run, plain, 0, plain->size, 2 * plain->size + 1000, &out) ==
        DTR_REPLAY_STOPPED) {
        const uint64_t position = run->position;
        const uint64_t begin = position > encoder->history ? position - encoder->history : 0;

        damage_state(run, damage, size);
        out.size = 0;
        const uint64_t end = choose_bounds(run, plain, begin, bounds);
        const int result = run_segment(encoder, run, plain, begin, end, plain->size, &out);
        assert(result >= DTR_REPLAY_STOPPED && result <= DTR_REPLAY_INVALID);
    }
    free(out.data);
    free(run);
}

static void check_whole(const dtr_encoder *encoder, const bytes *plain, uint64_t stride)
{
    dtr_replay *run = new_run(plain, plain->size + 1);
    bytes whole = make_out(plain->size);

    assert(run_segment(encoder, run, plain, 0, plain->size, 2 * plain->size + 1000, &whole) ==
           DTR_REPLAY_ENDED);
    check_segments(encoder, plain, stride, &whole);
    free(whole.data);
    free(run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t count = 0;

    while (dtr_encoder_at(count) != NULL)
        count++;
    if (size < PLAN_SIZE || count == 0)
        return 0;
    const dtr_encoder *encoder = dtr_encoder_at(data[0] % count);
    const uint8_t *steps = data + PLAN_SIZE;
    const size_t steps_size = size - PLAN_SIZE, damage_size = 3 * (size_t)data[2];
    bytes plain = make_plain(steps, steps_size);

    if (data[1] & REPEATED)
        repeat(&plain, part_size_of(encoder));
    if (data[1] & DAMAGED)
        check_damaged(encoder, &plain, data[3], steps,
                      damage_size < steps_size ? damage_size : steps_size);
    else
        check_whole(encoder, &plain, 1 + ((uint64_t)data[2] << 8 | data[3]));
    free(plain.data);
    return 0;
}
