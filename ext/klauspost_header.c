#include "klauspost_header.h"

#include "deflate_tokens.h"
#include "klauspost_code.h"

#define LENGTHS_LIMIT 7
#define BLOCK_DYNAMIC 2

enum { REPEAT = 16, ZEROS_FEW = 17, ZEROS_MANY = 18 };

static const uint8_t header_order[DTR_KP_HEADER_SYMBOLS] = {
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

static unsigned extra_size(unsigned symbol)
{
    static const uint8_t sizes[] = {2, 3, 7};

    return symbol < REPEAT ? 0 : sizes[symbol - REPEAT];
}

static void add(dtr_kp_header *header, unsigned symbol, unsigned extra)
{
    header->symbols[header->count] = (uint8_t)symbol;
    header->extras[header->count++] = (uint8_t)extra;
}

static void add_run(dtr_kp_header *header, unsigned length, unsigned repeat)
{
    if (length == 0) {
        for (unsigned part; repeat >= 11; repeat -= part) {
            part = repeat < 138 ? repeat : 138;
            add(header, ZEROS_MANY, part - 11);
        }
        if (repeat >= 3) {
            add(header, ZEROS_FEW, repeat - 3);
            repeat = 0;
        }
    } else {
        add(header, length, 0);
        repeat--;
        for (unsigned part; repeat >= 3; repeat -= part) {
            part = repeat < 6 ? repeat : 6;
            add(header, REPEAT, part - 3);
        }
    }
    while (repeat-- > 0)
        add(header, length, 0);
}

/* A run may cross from the literal lengths to the distance lengths. */
static void add_runs(dtr_kp_header *header, const uint8_t *lengths, unsigned count)
{
    for (unsigned start = 0, end; start < count; start = end) {
        for (end = start + 1; end < count && lengths[end] == lengths[start];)
            end++;
        add_run(header, lengths[start], end - start);
    }
}

static void choose_code(dtr_kp_header *header, int prefers_leaves)
{
    uint32_t counts[DTR_KP_HEADER_SYMBOLS] = {0};

    for (unsigned i = 0; i < header->count; i++)
        counts[header->symbols[i]]++;
    dtr_kp_code_lengths(counts, DTR_KP_HEADER_SYMBOLS, LENGTHS_LIMIT, prefers_leaves,
                        header->lengths);
    header->listed = DTR_KP_HEADER_SYMBOLS;
    while (header->listed > 4 && header->lengths[header_order[header->listed - 1]] == 0)
        header->listed--;
    header->size = 3 + 5 + 5 + 4 + 3 * header->listed;
    for (unsigned i = 0; i < DTR_KP_HEADER_SYMBOLS; i++)
        header->size += counts[i] * (header->lengths[i] + extra_size(i));
}

void dtr_kp_header_plan(dtr_kp_header *header, const uint8_t *literal_lengths,
                        unsigned literal_count, const uint8_t *distance_lengths,
                        unsigned distance_count, int prefers_leaves)
{
    uint8_t lengths[DTR_KP_HEADER_LENGTHS_MAX];

    memcpy(lengths, literal_lengths, literal_count);
    memcpy(lengths + literal_count, distance_lengths, distance_count);
    header->literal_count = literal_count;
    header->distance_count = distance_count;
    header->count = 0;
    add_runs(header, lengths, literal_count + distance_count);
    choose_code(header, prefers_leaves);
}

void dtr_kp_header_write(const dtr_kp_header *header, dtr_bits *bits)
{
    uint16_t codes[DTR_KP_HEADER_SYMBOLS];

    dtr_deflate_codes(header->lengths, DTR_KP_HEADER_SYMBOLS, codes);
    dtr_bits_put(bits, BLOCK_DYNAMIC << 1, 3);
    dtr_bits_put(bits, header->literal_count - 257, 5);
    dtr_bits_put(bits, header->distance_count - 1, 5);
    dtr_bits_put(bits, header->listed - 4, 4);
    dtr_bits_flush(bits);
    for (unsigned i = 0; i < header->listed; i++) {
        dtr_bits_put(bits, header->lengths[header_order[i]], 3);
        dtr_bits_flush(bits);
    }
    for (unsigned i = 0; i < header->count; i++) {
        const unsigned symbol = header->symbols[i];
        dtr_bits_put(bits, codes[symbol], header->lengths[symbol]);
        dtr_bits_put(bits, header->extras[i], extra_size(symbol));
        dtr_bits_flush(bits);
    }
}
