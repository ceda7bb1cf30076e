#include "zlib_blocks.h"

#include "zlib_code.h"
#include "zlib_header.h"

#define CODE_LIMIT 15
#define TYPE_SIZE 3

/* The encoders compare whole bytes, counted from the block's type on, not from the last byte. */
static uint64_t whole_bytes(uint64_t size)
{
    return (size + TYPE_SIZE + 7) / 8;
}

static void plan_dynamic(const dtr_deflate_counts *counts, dtr_deflate_lengths *lengths,
                         dtr_zlib_header *header)
{
    unsigned literal, distance; /* the highest symbols */

    memset(lengths, 0, sizeof *lengths);
    literal = dtr_zlib_code_lengths(counts->literals, DTR_DEFLATE_LITERALS, CODE_LIMIT,
                                    lengths->literal_lengths);
    distance = dtr_zlib_code_lengths(counts->distances, DTR_DEFLATE_DISTANCES, CODE_LIMIT,
                                     lengths->distance_lengths);
    dtr_zlib_header_plan(header, lengths->literal_lengths, literal + 1, lengths->distance_lengths,
                         distance + 1);
}

static void put_type(dtr_bits *bits, int is_last, int type)
{
    dtr_bits_put(bits, (uint64_t)(is_last | type << 1), TYPE_SIZE);
    dtr_bits_flush(bits);
}

void dtr_zlib_write_block(dtr_bits *bits, const dtr_deflate_tokens *tokens, int is_storable,
                          int is_last)
{
    dtr_deflate_counts counts;
    dtr_deflate_lengths fixed, dynamic;
    dtr_zlib_header header;
    uint64_t fixed_size, dynamic_size, best;

    dtr_deflate_count(&counts, tokens);
    plan_dynamic(&counts, &dynamic, &header);
    dtr_deflate_fixed(&fixed);
    fixed_size = whole_bytes(dtr_deflate_cost(&fixed, &counts));
    dynamic_size = whole_bytes(header.size + dtr_deflate_cost(&dynamic, &counts));
    best = fixed_size < dynamic_size ? fixed_size : dynamic_size;
    if (is_storable && tokens->size + 4 <= best) {
        dtr_deflate_write_stored(bits, is_last, tokens->bytes, tokens->size);
    } else if (fixed_size <= dynamic_size) {
        put_type(bits, is_last, DTR_DEFLATE_FIXED);
        dtr_deflate_write(bits, &fixed, tokens);
    } else {
        put_type(bits, is_last, DTR_DEFLATE_DYNAMIC);
        dtr_zlib_header_write(&header, bits);
        dtr_deflate_write(bits, &dynamic, tokens);
    }
}

/* An empty fixed block has 10 bits. So an even number of pending bits becomes whole bytes with up
 * to three of them, and an odd one needs a stored block. */
void dtr_zlib_write_part_end(dtr_bits *bits)
{
    if (bits->count % 2 != 0)
        dtr_deflate_write_stored(bits, 0, bits->at, 0);
    while (bits->count != 0) {
        dtr_bits_put(bits, DTR_DEFLATE_FIXED << 1, 10);
        dtr_bits_flush(bits);
    }
}
