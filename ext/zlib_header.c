#include "zlib_header.h"

#include "deflate_tokens.h"
#include "zlib_code.h"

#define LENGTHS_LIMIT 7
#define LISTED_MIN 4

enum { REPEAT = 16, ZEROS_FEW = 17, ZEROS_MANY = 18 };

static const uint8_t header_order[DTR_ZLIB_HEADER_SYMBOLS] = {
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

static unsigned extra_size(unsigned symbol)
{
    static const uint8_t sizes[] = {2, 3, 7};

    return symbol < REPEAT ? 0 : sizes[symbol - REPEAT];
}

static void add(dtr_zlib_header *header, unsigned symbol, unsigned extra)
{
    header->symbols[header->count] = (uint8_t)symbol;
    header->extras[header->count++] = (uint8_t)extra;
}

static void add_copies(dtr_zlib_header *header, unsigned length, unsigned count)
{
    while (count-- > 0)
        add(header, length, 0);
}

static void add_zeros(dtr_zlib_header *header, unsigned count)
{
    for (unsigned part; count > 0; count -= part) {
        part = count < 138 ? count : 138;
        if (part <= 2)
            add_copies(header, 0, part);
        else if (part <= 10)
            add(header, ZEROS_FEW, part - 3);
        else
            add(header, ZEROS_MANY, part - 11);
    }
}

/* The first part has the length itself, and up to 6 repeats. Later parts are repeats only. */
static void add_run(dtr_zlib_header *header, unsigned length, unsigned count)
{
    add(header, length, 0);
    count--;
    for (unsigned part; count > 0; count -= part) {
        part = count < 6 ? count : 6;
        if (part <= 2)
            add_copies(header, length, part);
        else
            add(header, REPEAT, part - 3);
    }
}

/* No run crosses from one list to the other. */
static void add_list(dtr_zlib_header *header, const uint8_t *lengths, unsigned count)
{
    for (unsigned start = 0, end; start < count; start = end) {
        for (end = start + 1; end < count && lengths[end] == lengths[start];)
            end++;
        if (lengths[start] == 0)
            add_zeros(header, end - start);
        else
            add_run(header, lengths[start], end - start);
    }
}

void dtr_zlib_header_plan(dtr_zlib_header *header, const uint8_t *literal_lengths,
                          unsigned literal_count, const uint8_t *distance_lengths,
                          unsigned distance_count)
{
    uint32_t counts[DTR_ZLIB_HEADER_SYMBOLS] = {0};

    header->literal_count = literal_count;
    header->distance_count = distance_count;
    header->count = 0;
    add_list(header, literal_lengths, literal_count);
    add_list(header, distance_lengths, distance_count);
    for (unsigned i = 0; i < header->count; i++)
        counts[header->symbols[i]]++;
    dtr_zlib_code_lengths(counts, DTR_ZLIB_HEADER_SYMBOLS, LENGTHS_LIMIT, header->lengths);
    header->listed = DTR_ZLIB_HEADER_SYMBOLS;
    while (header->listed > LISTED_MIN && header->lengths[header_order[header->listed - 1]] == 0)
        header->listed--;
    header->size = 5 + 5 + 4 + 3 * header->listed;
    for (unsigned i = 0; i < DTR_ZLIB_HEADER_SYMBOLS; i++)
        header->size += counts[i] * (header->lengths[i] + extra_size(i));
}

void dtr_zlib_header_write(const dtr_zlib_header *header, dtr_bits *bits)
{
    uint16_t codes[DTR_ZLIB_HEADER_SYMBOLS];

    dtr_deflate_codes(header->lengths, DTR_ZLIB_HEADER_SYMBOLS, codes);
    dtr_bits_put(bits, header->literal_count - 257, 5);
    dtr_bits_put(bits, header->distance_count - 1, 5);
    dtr_bits_put(bits, header->listed - LISTED_MIN, 4);
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
