/* Fuzzes dtr_chunked_decode: whole, in pieces, in place, and against a decoder that reads lines.
 *
 * The first octets of an input choose the cuts of the rest, which is the body.
 */
#include "bytes.h"
#include "chunked.h"

/* Octets before the body: the seed of the cuts, and the room for output in one call. */
#define PLAN_SIZE 3

enum verdict { INCOMPLETE, FINISHED, MALFORMED };

typedef struct {
    enum verdict verdict;
    size_t consumed, produced;
    uint8_t *output; /* as large as the body */
} result;

/* The value of 1 to 16 hexadecimal digits, or -1. */
static int64_t read_size(const uint8_t *line, size_t size)
{
    char digits[17] = "";

    if (size == 0 || size > 16)
        return -1;
    memcpy(digits, line, size);
    if (strspn(digits, "0123456789abcdefABCDEF") != size)
        return -1;
    const unsigned long long value = strtoull(digits, NULL, 16);
    return value > INT64_MAX ? -1 : (int64_t)value;
}

/* Reads the trailer section at `start`, line by line. */
static void reference_trailer(result *found, const uint8_t *data, size_t size, size_t start)
{
    const size_t limit = start + DTR_CHUNKED_TRAILER_SIZE_MAX;

    for (;;) {
        const size_t end = find_line_end(data, size, start);
        if (end == size)
            return;
        if (end == start) {
            found->verdict = FINISHED;
            found->consumed = end + 2;
            return;
        }
        if (find_colon(data + start, end - start) == 0 || end + 2 > limit) {
            found->verdict = MALFORMED;
            return;
        }
        start = end + 2;
    }
}

/* Decodes a body by whole lines; `output` gets the data so far. */
static void reference_decode(result *found, const uint8_t *data, size_t size)
{
    size_t start = 0;

    for (;;) {
        const size_t end = find_line_end(data, size, start);
        if (end == size)
            return;
        const int64_t length = read_size(data + start, end - start);
        if (length < 0) {
            found->verdict = MALFORMED;
            return;
        }
        start = end + 2;
        if (length == 0) {
            reference_trailer(found, data, size, start);
            return;
        }
        const size_t left = size - start;
        const size_t count = (uint64_t)length < left ? (size_t)length : left;
        memcpy(found->output + found->produced, data + start, count);
        found->produced += count;
        start += count;
        if (count < (uint64_t)length || size - start < 2)
            return;
        if (data[start] != '\r' || data[start + 1] != '\n') {
            found->verdict = MALFORMED;
            return;
        }
        start += 2;
    }
}

static enum verdict verdict_of(const dtr_chunked *decoder)
{
    if (decoder->status != DTR_CHUNKED_OK)
        return MALFORMED;
    return decoder->state == DTR_CHUNKED_FINISHED ? FINISHED : INCOMPLETE;
}

/* Checks that an ended decoder stays so: it consumes and produces no more octets. */
static void check_end(dtr_chunked *decoder)
{
    uint8_t octet = '0', room;
    dtr_chunked_input input = {&octet, 1, 0};
    dtr_chunked_output output = {&room, 1, 0};
    const int status = decoder->status;
    const enum verdict verdict = verdict_of(decoder);

    if (verdict == INCOMPLETE)
        return;
    const int again = dtr_chunked_decode(decoder, &input, &output);
    assert(again == status && verdict_of(decoder) == verdict);
    assert(input.consumed == 0 && output.produced == 0);
}

/* Makes one call, on memory with nothing behind it. Returns 1 if it consumed octets. */
static int decode_piece(dtr_chunked *decoder, result *found, const uint8_t *data, size_t size,
                        size_t room)
{
    uint8_t *from = copy_exactly(data, size), *into = malloc(room ? room : 1);
    dtr_chunked_input input = {from, size, 0};
    dtr_chunked_output output = {into, room, 0};

    assert(into != NULL);
    const int status = dtr_chunked_decode(decoder, &input, &output);
    assert(status == decoder->status && input.consumed <= size && output.produced <= room);
    assert(output.produced <= input.consumed);
    memcpy(found->output + found->produced, into, output.produced);
    found->consumed += input.consumed;
    found->produced += output.produced;
    free(from);
    free(into);
    return input.consumed > 0;
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u; /* Numerical Recipes' constants */
    return *state >> 16;
}

/* Decodes pieces whose sizes `seed` chooses, with room for `room` octets in each call. */
static void decode_pieces(result *found, const uint8_t *data, size_t size, uint32_t seed,
                          size_t room)
{
    dtr_chunked decoder = {0};

    while (found->consumed < size && verdict_of(&decoder) == INCOMPLETE) {
        const size_t left = size - found->consumed;
        const size_t wanted = 1 + next_random(&seed) % (seed & 0x100 ? 7 : 600);
        const size_t count = wanted < left ? wanted : left;
        const int moved = decode_piece(&decoder, found, data + found->consumed, count, room);
        assert(moved);
    }
    found->verdict = verdict_of(&decoder);
    check_end(&decoder);
}

static void decode_whole(result *found, const uint8_t *data, size_t size)
{
    dtr_chunked decoder = {0};

    decode_piece(&decoder, found, data, size, size);
    found->verdict = verdict_of(&decoder);
    check_end(&decoder);
}

static void decode_in_place(result *found, const uint8_t *data, size_t size)
{
    dtr_chunked decoder = {0};
    uint8_t *memory = copy_exactly(data, size);
    dtr_chunked_input input = {memory, size, 0};
    dtr_chunked_output output = {memory, size, 0};

    dtr_chunked_decode(&decoder, &input, &output);
    memcpy(found->output, memory, output.produced);
    found->consumed = input.consumed;
    found->produced = output.produced;
    found->verdict = verdict_of(&decoder);
    free(memory);
}

static result start_result(size_t size)
{
    result found = {INCOMPLETE, 0, 0, malloc(size ? size : 1)};

    assert(found.output != NULL);
    return found;
}

static void check_equal(const result *one, const result *other)
{
    assert(one->verdict == other->verdict);
    assert(one->consumed == other->consumed && one->produced == other->produced);
    assert(memcmp(one->output, other->output, one->produced) == 0);
}

/* Compares with the reference, which sees an error only once its line is complete. */
static void check_reference(const result *found, const result *reference, size_t size)
{
    assert((found->verdict == FINISHED) == (reference->verdict == FINISHED));
    assert(reference->verdict != MALFORMED || found->verdict == MALFORMED);
    assert(found->produced == reference->produced);
    assert(memcmp(found->output, reference->output, found->produced) == 0);
    if (found->verdict == FINISHED)
        assert(found->consumed == reference->consumed);
    if (found->verdict == INCOMPLETE)
        assert(found->consumed == size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < PLAN_SIZE)
        return 0;
    const uint32_t seed = (uint32_t)(data[0] << 8 | data[1]);
    const size_t room = 1 + data[2];
    data += PLAN_SIZE;
    size -= PLAN_SIZE;

    result whole = start_result(size), pieces = start_result(size), place = start_result(size);
    result reference = start_result(size);
    decode_whole(&whole, data, size);
    decode_pieces(&pieces, data, size, seed, room);
    decode_in_place(&place, data, size);
    reference_decode(&reference, data, size);
    check_equal(&whole, &pieces);
    check_equal(&whole, &place);
    check_reference(&whole, &reference, size);
    free(whole.output);
    free(pieces.output);
    free(place.output);
    free(reference.output);
    return 0;
}
