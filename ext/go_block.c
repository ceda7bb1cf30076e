/* Blocks of Go's deflate encoder. */
#include "go_block.h"

#include "go_huffman.h"

/* Alphabets of RFC 1951, sections 3.2.5 and 3.2.7. */
#define END_OF_BLOCK 256
#define LITERAL_SYMBOLS 288 /* with two that only the fixed code has */
#define DISTANCE_SYMBOLS 30
#define SHAPE_SYMBOLS 19

enum { FORM_STORED, FORM_FIXED, FORM_DYNAMIC };

/* One run-length symbol of the code lengths, with its extra bits. */
typedef struct {
    uint8_t symbol, extra;
} shape_item;

/* The codes of one block, and their costs in bits. "Shape" is the run-length coding of the code
 * lengths. */
typedef struct {
    uint32_t literal_counts[LITERAL_SYMBOLS], distance_counts[DISTANCE_SYMBOLS];
    uint32_t shape_counts[SHAPE_SYMBOLS];
    uint8_t literal_lengths[LITERAL_SYMBOLS], distance_lengths[DISTANCE_SYMBOLS];
    uint8_t shape_lengths[SHAPE_SYMBOLS];
    unsigned literal_size, distance_size, shape_size, item_count;
    shape_item items[LITERAL_SYMBOLS + DISTANCE_SYMBOLS];
    uint64_t extra_bits;   /* of lengths and distances */
    uint64_t dynamic_bits; /* the dynamic block without those extra bits */
} coding;

/* The order in which the code lengths of the shape are written. */
static const uint8_t shape_order[SHAPE_SYMBOLS] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                   11, 4,  12, 3, 13, 2, 14, 1, 15};

/* The extra bits of the length `before + 3`. */
static inline unsigned length_extra_bits(unsigned before)
{
    return before < 8 || before == 255 ? 0 : 29 - (unsigned)__builtin_clz(before);
}

/* The symbol of the length `before + 3`. Each four symbols have one extra bit more than the four
 * before; the first eight have none, and 258 has a symbol of its own. */
static inline unsigned length_symbol(unsigned before)
{
    const unsigned extra = length_extra_bits(before);

    return before == 255 ? 285 : 257 + 4 * extra + (before >> extra);
}

static inline unsigned distance_extra_bits(unsigned symbol)
{
    return symbol < 4 ? 0 : symbol / 2 - 1;
}

static void count_symbols(coding *code, const dtr_go_tokens *tokens)
{
    memset(code->literal_counts, 0, sizeof code->literal_counts);
    memcpy(code->literal_counts, tokens->units, 256 * sizeof tokens->units[0]);
    memcpy(code->distance_counts, tokens->distances, sizeof code->distance_counts);
    code->literal_counts[END_OF_BLOCK] = 1;
    code->extra_bits = 0;
    for (unsigned before = 0; before < 256; before++) {
        const uint32_t count = tokens->units[256 + before];

        code->literal_counts[length_symbol(before)] += count;
        code->extra_bits += (uint64_t)count * length_extra_bits(before);
    }
    for (unsigned symbol = 0; symbol < DISTANCE_SYMBOLS; symbol++)
        code->extra_bits += (uint64_t)tokens->distances[symbol] * distance_extra_bits(symbol);
}

static void add_item(coding *code, unsigned symbol, unsigned extra)
{
    code->items[code->item_count++] = (shape_item){(uint8_t)symbol, (uint8_t)extra};
    code->shape_counts[symbol]++;
}

/* Appends `count` repetitions of one code length that differs from its neighbors. */
static void add_run(coding *code, unsigned length, unsigned count)
{
    if (length > 0) {
        add_item(code, length, 0);
        for (count--; count >= 3;) {
            const unsigned part = count < 6 ? count : 6;

            add_item(code, 16, part - 3);
            count -= part;
        }
    }
    while (length == 0 && count >= 3) {
        const unsigned part = count < 138 ? count : 138;

        add_item(code, count < 11 ? 17 : 18, count < 11 ? count - 3 : part - 11);
        count -= part;
    }
    while (count-- > 0)
        add_item(code, length, 0);
}

/* Run-length codes the code lengths. Runs cross the border of both alphabets. */
static void make_shape(coding *code)
{
    const unsigned size = code->literal_size + code->distance_size;
    uint8_t lengths[LITERAL_SYMBOLS + DISTANCE_SYMBOLS];
    unsigned start = 0;

    memcpy(lengths, code->literal_lengths, code->literal_size);
    memcpy(lengths + code->literal_size, code->distance_lengths, code->distance_size);
    memset(code->shape_counts, 0, sizeof code->shape_counts);
    code->item_count = 0;
    for (unsigned end = 1; end <= size; end++)
        if (end == size || lengths[end] != lengths[start]) {
            add_run(code, lengths[start], end - start);
            start = end;
        }
    dtr_go_code_lengths(code->shape_lengths, code->shape_counts, SHAPE_SYMBOLS, 7);
    code->shape_size = SHAPE_SYMBOLS;
    while (code->shape_size > 4 && code->shape_counts[shape_order[code->shape_size - 1]] == 0)
        code->shape_size--;
}

static unsigned used_size(const uint32_t *counts, unsigned size)
{
    while (size > 0 && counts[size - 1] == 0)
        size--;
    return size;
}

static uint64_t sum_bits(const uint32_t *counts, const uint8_t *lengths, unsigned size)
{
    uint64_t bits = 0;

    for (unsigned symbol = 0; symbol < size; symbol++)
        bits += (uint64_t)counts[symbol] * lengths[symbol];
    return bits;
}

/* Makes the dynamic code from the counts. A block without a match counts distance 0 once. */
static void make_code(coding *code)
{
    code->literal_size = used_size(code->literal_counts, LITERAL_SYMBOLS);
    code->distance_size = used_size(code->distance_counts, DISTANCE_SYMBOLS);
    if (code->distance_size == 0)
        code->distance_counts[0] = code->distance_size = 1;
    dtr_go_code_lengths(code->literal_lengths, code->literal_counts, LITERAL_SYMBOLS,
                        DTR_GO_CODE_LENGTH_MAX);
    dtr_go_code_lengths(code->distance_lengths, code->distance_counts, DISTANCE_SYMBOLS,
                        DTR_GO_CODE_LENGTH_MAX);
    make_shape(code);
    code->dynamic_bits = 17 + 3 * code->shape_size +
                         sum_bits(code->shape_counts, code->shape_lengths, SHAPE_SYMBOLS) +
                         2 * code->shape_counts[16] + 3 * code->shape_counts[17] +
                         7 * code->shape_counts[18] +
                         sum_bits(code->literal_counts, code->literal_lengths, LITERAL_SYMBOLS) +
                         sum_bits(code->distance_counts, code->distance_lengths, DISTANCE_SYMBOLS);
}

/* Sets the lengths of the fixed code (RFC 1951, section 3.2.6). */
static void set_fixed_lengths(coding *code)
{
    memset(code->literal_lengths, 8, sizeof code->literal_lengths);
    memset(code->literal_lengths + 144, 9, 256 - 144);
    memset(code->literal_lengths + 256, 7, 280 - 256);
    memset(code->distance_lengths, 5, sizeof code->distance_lengths);
}

static uint64_t fixed_bits(const coding *code)
{
    coding fixed;
    uint64_t bits = 3 + code->extra_bits;

    set_fixed_lengths(&fixed);
    bits += sum_bits(code->literal_counts, fixed.literal_lengths, LITERAL_SYMBOLS);
    return bits + sum_bits(code->distance_counts, fixed.distance_lengths, DISTANCE_SYMBOLS);
}

/* The bits of a stored block as the choice counts them: without the padding. */
static uint64_t stored_bits(size_t size)
{
    return 8 * ((uint64_t)size + 5);
}

/* Writes the header of a block that is not the last one. */
static void write_form(dtr_bits *writer, unsigned form)
{
    dtr_bits_put(writer, form << 1, 3);
    dtr_bits_flush(writer);
}

static void write_shape(dtr_bits *writer, const coding *code)
{
    static const uint8_t extra_bits[SHAPE_SYMBOLS] = {[16] = 2, [17] = 3, [18] = 7};
    uint16_t codes[SHAPE_SYMBOLS];

    dtr_go_codes(codes, code->shape_lengths, SHAPE_SYMBOLS);
    dtr_bits_put(writer, code->literal_size - 257, 5);
    dtr_bits_put(writer, code->distance_size - 1, 5);
    dtr_bits_put(writer, code->shape_size - 4, 4);
    dtr_bits_flush(writer);
    for (unsigned i = 0; i < code->shape_size; i++) {
        dtr_bits_put(writer, code->shape_lengths[shape_order[i]], 3);
        dtr_bits_flush(writer);
    }
    for (unsigned i = 0; i < code->item_count; i++) {
        const shape_item item = code->items[i];

        dtr_bits_put(writer, codes[item.symbol], code->shape_lengths[item.symbol]);
        dtr_bits_put(writer, item.extra, extra_bits[item.symbol]);
        dtr_bits_flush(writer);
    }
}

/* The bits of each unit and of each distance symbol. A unit has the count of its bits above bit
 * 24. A distance has the length of its code above bit 16, and above bit 24 the count that includes
 * the extra bits. */
typedef struct {
    uint32_t units[DTR_GO_UNIT_COUNT], distances[32];
    uint32_t end, end_length;
} bit_table;

static void make_table(bit_table *table, const coding *code)
{
    uint16_t literal_codes[LITERAL_SYMBOLS], distance_codes[DISTANCE_SYMBOLS];

    dtr_go_codes(literal_codes, code->literal_lengths, LITERAL_SYMBOLS);
    dtr_go_codes(distance_codes, code->distance_lengths, DISTANCE_SYMBOLS);
    for (unsigned byte = 0; byte < 256; byte++)
        table->units[byte] = literal_codes[byte] | (uint32_t)code->literal_lengths[byte] << 24;
    for (unsigned before = 0; before < 256; before++) {
        const unsigned symbol = length_symbol(before), extra = length_extra_bits(before);
        const unsigned length = code->literal_lengths[symbol];
        const uint32_t bits = before & ((1u << extra) - 1);

        table->units[256 + before] =
            literal_codes[symbol] | bits << length | (length + extra) << 24;
    }
    for (unsigned symbol = 0; symbol < DISTANCE_SYMBOLS; symbol++) {
        const unsigned length = code->distance_lengths[symbol];

        table->distances[symbol] = distance_codes[symbol] | length << 16 |
                                   (length + distance_extra_bits(symbol)) << 24;
    }
    table->distances[DTR_GO_NO_DISTANCE] = 0;
    table->end = literal_codes[END_OF_BLOCK];
    table->end_length = code->literal_lengths[END_OF_BLOCK];
}

static void write_tokens(dtr_bits *writer, const coding *code, const dtr_go_tokens *tokens)
{
    dtr_bits local = *writer; /* stays in registers: stores of bytes cannot alias it */
    bit_table table;

    make_table(&table, code);
    for (size_t i = 0; i < tokens->size; i++) {
        const uint32_t token = tokens->tokens[i];
        const uint32_t unit = table.units[token & (DTR_GO_UNIT_COUNT - 1)];
        const uint32_t distance = table.distances[token >> DTR_GO_SYMBOL_SHIFT];
        const uint64_t extra = (token >> DTR_GO_UNIT_BITS) & 0x1fff;

        /* At most 15 + 5 and 15 + 13 bits, and 7 pending ones. */
        dtr_bits_put(&local, unit & 0xffffff, unit >> 24);
        dtr_bits_put(&local, (distance & 0xffff) | extra << ((distance >> 16) & 0xff),
                     distance >> 24);
        dtr_bits_flush(&local);
    }
    dtr_bits_put(&local, table.end, table.end_length);
    dtr_bits_flush(&local);
    *writer = local;
}

static void write_dynamic(dtr_bits *writer, const coding *code, const dtr_go_tokens *tokens)
{
    write_form(writer, FORM_DYNAMIC);
    write_shape(writer, code);
    write_tokens(writer, code, tokens);
}

static void write_fixed(dtr_bits *writer, coding *code, const dtr_go_tokens *tokens)
{
    set_fixed_lengths(code);
    write_form(writer, FORM_FIXED);
    write_tokens(writer, code, tokens);
}

void dtr_go_write_stored(dtr_bits *writer, const uint8_t *plain, size_t size)
{
    write_form(writer, FORM_STORED);
    dtr_bits_align(writer);
    dtr_bits_put(writer, size, 16);
    dtr_bits_put(writer, size ^ 0xffff, 16);
    dtr_bits_flush(writer);
    dtr_bits_bytes(writer, plain, size);
}

void dtr_go_write_end(dtr_bits *writer)
{
    dtr_bits_put(writer, 1, 3);
    dtr_bits_align(writer);
    dtr_bits_put(writer, 0xffff0000, 32);
    dtr_bits_flush(writer);
}

void dtr_go_write_smallest(dtr_bits *writer, const dtr_go_tokens *tokens, const uint8_t *plain,
                           size_t size, int is_storable)
{
    coding code;

    count_symbols(&code, tokens);
    make_code(&code);

    const uint64_t fixed = fixed_bits(&code), dynamic = code.dynamic_bits + code.extra_bits;

    if (is_storable && size <= DTR_GO_STORED_SIZE_MAX &&
        stored_bits(size) < (dynamic < fixed ? dynamic : fixed))
        dtr_go_write_stored(writer, plain, size);
    else if (dynamic < fixed)
        write_dynamic(writer, &code, tokens);
    else
        write_fixed(writer, &code, tokens);
}

/* Level best-speed stores unless the code saves about a sixteenth, and forgets the extra bits. */
static int is_better_stored(const coding *code, size_t size)
{
    return stored_bits(size) < code->dynamic_bits + code->dynamic_bits / 16;
}

void dtr_go_write_dynamic_or_stored(dtr_bits *writer, const dtr_go_tokens *tokens,
                                    const uint8_t *plain, size_t size)
{
    coding code;

    count_symbols(&code, tokens);
    make_code(&code);
    if (is_better_stored(&code, size))
        dtr_go_write_stored(writer, plain, size);
    else
        write_dynamic(writer, &code, tokens);
}
