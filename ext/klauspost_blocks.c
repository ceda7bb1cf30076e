/* The choice between stored, fixed and dynamic blocks. */
#include "klauspost_blocks.h"

#include "deflate_tokens.h"
#include "klauspost_code.h"
#include "klauspost_header.h"
#include "klauspost_tokens.h"

#include <stdlib.h>

#define CODE_LIMIT 15
#define BLOCK_STORED 0
#define BLOCK_FIXED 1

/* A fixed block is considered below this number of tokens. */
#define FIXED_TOKENS 250

/* The cost of a header that is not known yet, in bits. */
#define HEADER_GUESS 560

/* The encoder's guess of a new code's cost is raised by 1/128. */
#define GUESS_MARGIN_SHIFT 7

#define COST_INFINITE UINT64_MAX

/* Last chunks below this size are not searched, unless the rules say so. */
#define SHORT_SIZE 128

/* A code's cost of literals is compared with random bytes only above this size. */
#define UNIFORM_SIZE 1024

/* Last chunks up to this size are stored without a further look. */
#define SHORT_STORED_SIZE 32

static uint64_t stored_size(const dtr_kp_chunk *chunk)
{
    return 8 * ((uint64_t)chunk->size + 5);
}

static void close_block(dtr_kp_writer *writer)
{
    if (writer->open == DTR_KP_CLOSED)
        return;
    dtr_bits_put(&writer->bits, writer->code.literals[DTR_KP_END],
                 writer->code.literal_lengths[DTR_KP_END]);
    dtr_bits_flush(&writer->bits);
    writer->open = DTR_KP_CLOSED;
}

static void write_stored(dtr_kp_writer *writer, const dtr_kp_chunk *chunk)
{
    close_block(writer);
    dtr_bits_put(&writer->bits, BLOCK_STORED << 1, 3);
    dtr_bits_align(&writer->bits);
    dtr_bits_put(&writer->bits, chunk->size | (uint64_t)(chunk->size ^ 0xffff) << 16, 32);
    dtr_bits_flush(&writer->bits);
    dtr_bits_bytes(&writer->bits, chunk->bytes, chunk->size);
}

static void write_fixed(dtr_kp_writer *writer, const dtr_kp_chunk *chunk,
                        const dtr_kp_matches *matches)
{
    dtr_kp_code code;

    close_block(writer);
    dtr_kp_code_fixed(&code);
    dtr_bits_put(&writer->bits, BLOCK_FIXED << 1, 3);
    dtr_kp_write_tokens(&writer->bits, &code, chunk, matches);
    dtr_bits_put(&writer->bits, code.literals[DTR_KP_END], code.literal_lengths[DTR_KP_END]);
    dtr_bits_flush(&writer->bits);
}

static void set_codes(dtr_kp_code *code)
{
    dtr_deflate_codes(code->literal_lengths, DTR_KP_LITERAL_CODES, code->literals);
    dtr_deflate_codes(code->distance_lengths, DTR_KP_DISTANCE_CODES, code->distances);
}

/* Writes a header and opens its block. The code's lengths are set. */
static void open_block(dtr_kp_writer *writer, const dtr_kp_header *header, int kind)
{
    dtr_kp_header_write(header, &writer->bits);
    set_codes(&writer->code);
    writer->header_size = header->size;
    writer->open = kind;
}

/* Returns whether bytes are about as even as random ones: squared deviations sum up to less than
 * two per byte. Whole numbers keep it exact. */
static int is_uniform(const dtr_kp_counts *counts, uint32_t size)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < 256; i++) {
        const int64_t deviation = 256 * (int64_t)counts->literals[i] - (int64_t)size;
        sum += (uint64_t)(deviation * deviation);
    }
    return sum < (uint64_t)size * 2 * 65536;
}

static uint64_t literal_cost(const dtr_kp_counts *counts, const uint8_t *lengths)
{
    uint64_t cost = 0;

    for (unsigned i = 0; i < 256; i++) {
        if (counts->literals[i] > 0 && lengths[i] == 0)
            return COST_INFINITE;
        cost += (uint64_t)counts->literals[i] * lengths[i];
    }
    return cost;
}

/* Plans the header of a block for literals only. It has one distance, which no stream uses. */
static void plan_literals(const dtr_kp_writer *writer, dtr_kp_header *header)
{
    static const uint8_t distance_lengths[] = {1};

    dtr_kp_header_plan(header, writer->code.literal_lengths, DTR_KP_END + 1, distance_lengths, 1,
                       writer->rules.prefers_leaves);
}

static void open_literals(dtr_kp_writer *writer, const uint8_t *lengths)
{
    dtr_kp_header header;

    memset(&writer->code, 0, sizeof writer->code);
    memcpy(writer->code.literal_lengths, lengths, DTR_KP_END + 1);
    plan_literals(writer, &header);
    open_block(writer, &header, DTR_KP_OPEN_LITERALS);
}

/* Writes a chunk without matches, whatever the search found. */
static void write_literals(dtr_kp_writer *writer, const dtr_kp_chunk *chunk)
{
    uint8_t lengths[DTR_KP_END + 1];
    dtr_kp_counts counts;
    uint64_t guess;

    dtr_kp_count_bytes(&counts, chunk);
    if (chunk->size > UNIFORM_SIZE && is_uniform(&counts, chunk->size)) {
        write_stored(writer, chunk);
        return;
    }
    dtr_kp_code_lengths(counts.literals, DTR_KP_END + 1, CODE_LIMIT, writer->rules.prefers_leaves,
                        lengths);
    guess = literal_cost(&counts, lengths) + lengths[DTR_KP_END];
    guess += writer->open == DTR_KP_CLOSED ? HEADER_GUESS : writer->header_size;
    guess += guess >> GUESS_MARGIN_SHIFT;
    if (stored_size(chunk) <= guess) {
        write_stored(writer, chunk);
        return;
    }
    if (writer->open != DTR_KP_CLOSED &&
        guess < literal_cost(&counts, writer->code.literal_lengths))
        close_block(writer);
    if (writer->open == DTR_KP_CLOSED)
        open_literals(writer, lengths);
    dtr_kp_write_bytes(&writer->bits, &writer->code, chunk);
    if (chunk->is_last)
        close_block(writer);
}

/* Returns whether the code has all symbols but the end of the block, which every code has. */
static int has_symbols(const dtr_kp_code *code, const dtr_kp_counts *counts)
{
    for (unsigned i = 0; i < DTR_KP_LITERAL_CODES; i++)
        if (counts->literals[i] > 0 && code->literal_lengths[i] == 0)
            return 0;
    for (unsigned i = 0; i < DTR_KP_DISTANCE_CODES; i++)
        if (counts->distances[i] > 0 && code->distance_lengths[i] == 0)
            return 0;
    return 1;
}

static uint64_t fixed_cost(const dtr_kp_counts *counts)
{
    dtr_kp_code code;

    dtr_kp_code_fixed(&code);
    return dtr_kp_cost(&code, counts);
}

/* Compares the open block's code with a guess at a new one, and closes the block if the guess is
 * better. Returns 1 if it has written the chunk as a stored or fixed block. */
static int try_open_block(dtr_kp_writer *writer, const dtr_kp_chunk *chunk,
                          const dtr_kp_matches *matches, dtr_kp_counts *counts)
{
    uint64_t guess = writer->header_size + dtr_kp_guess(counts, chunk->is_last), best, fixed;

    guess += writer->code.literal_lengths[DTR_KP_END] + (guess >> GUESS_MARGIN_SHIFT);
    if (writer->rules.ignores_end_cost && !chunk->is_last)
        counts->literals[DTR_KP_END] = 0;
    best = dtr_kp_cost(&writer->code, counts);
    fixed = counts->token_count + chunk->is_last < FIXED_TOKENS ? 10 + fixed_cost(counts)
                                                                : COST_INFINITE;
    counts->literals[DTR_KP_END] = 1;
    if (guess < best) {
        close_block(writer);
        best = guess;
    }
    if (stored_size(chunk) > best && fixed >= best)
        return 0;
    if (stored_size(chunk) <= best)
        write_stored(writer, chunk);
    else
        write_fixed(writer, chunk, matches);
    return 1;
}

static unsigned used_count(const uint8_t *lengths, unsigned count)
{
    while (lengths[count - 1] == 0)
        count--;
    return count;
}

/* Plans the header of a block whose code's lengths are set. */
static void plan_full(const dtr_kp_writer *writer, int lists_unused, dtr_kp_header *header)
{
    const dtr_kp_code *code = &writer->code;
    unsigned literals = DTR_KP_LITERAL_CODES, distances = DTR_KP_DISTANCE_CODES;

    if (!lists_unused) {
        literals = used_count(code->literal_lengths, literals);
        distances = used_count(code->distance_lengths, distances);
    }
    dtr_kp_header_plan(header, code->literal_lengths, literals, code->distance_lengths, distances,
                       writer->rules.prefers_leaves);
}

static void choose_code(dtr_kp_writer *writer, const dtr_kp_counts *counts)
{
    const int prefers_leaves = writer->rules.prefers_leaves;

    dtr_kp_code_lengths(counts->literals, DTR_KP_LITERAL_CODES, CODE_LIMIT, prefers_leaves,
                        writer->code.literal_lengths);
    dtr_kp_code_lengths(counts->distances, DTR_KP_DISTANCE_CODES, CODE_LIMIT, prefers_leaves,
                        writer->code.distance_lengths);
}

/* Opens a block for the chunk. Returns 1 if it has written it as a stored or fixed block. */
static int open_full(dtr_kp_writer *writer, const dtr_kp_chunk *chunk,
                     const dtr_kp_matches *matches, const dtr_kp_counts *counts)
{
    dtr_kp_header header;
    uint64_t best;
    int is_fixed = 0;

    choose_code(writer, counts);
    plan_full(writer, writer->rules.has_full_headers && !chunk->is_last, &header);
    best = header.size + dtr_kp_cost(&writer->code, counts);
    if (counts->token_count + chunk->is_last < FIXED_TOKENS) {
        const uint64_t fixed = 3 + fixed_cost(counts);
        is_fixed = fixed <= best;
        best = is_fixed ? fixed : best;
    }
    if (stored_size(chunk) <= best)
        write_stored(writer, chunk);
    else if (is_fixed)
        write_fixed(writer, chunk, matches);
    else
        open_block(writer, &header, DTR_KP_OPEN_FULL);
    return writer->open == DTR_KP_CLOSED;
}

static void write_matches(dtr_kp_writer *writer, const dtr_kp_chunk *chunk,
                          const dtr_kp_matches *matches)
{
    dtr_kp_counts counts;

    dtr_kp_count_tokens(&counts, chunk, matches);
    if (writer->open == DTR_KP_OPEN_LITERALS ||
        (writer->open == DTR_KP_OPEN_FULL && !has_symbols(&writer->code, &counts)))
        close_block(writer);
    counts.literals[DTR_KP_END] = 1;
    if (writer->open == DTR_KP_OPEN_FULL && try_open_block(writer, chunk, matches, &counts))
        return;
    if (writer->open == DTR_KP_CLOSED && open_full(writer, chunk, matches, &counts))
        return;
    dtr_kp_write_tokens(&writer->bits, &writer->code, chunk, matches);
    if (chunk->is_last)
        close_block(writer);
}

/* Writes a last chunk that is too short for a search. */
static void write_short(dtr_kp_writer *writer, const dtr_kp_chunk *chunk)
{
    if (chunk->size <= SHORT_STORED_SIZE)
        write_stored(writer, chunk);
    else
        write_literals(writer, chunk);
}

/* Writes a chunk with the matches that a search found. */
static void write_chunk(dtr_kp_writer *writer, const dtr_kp_chunk *chunk,
                        const dtr_kp_matches *matches)
{
    const uint32_t size = chunk->size;
    /* So many tokens are hardly fewer than the bytes. */
    const uint32_t many = size - size / 16;
    const uint32_t token_count = matches->count + size - matches->matched;
    const int stores_short = writer->rules.searches_short && size < DTR_KP_SEARCH_SIZE_MIN;
    const int stores_plain = !writer->rules.searches_short || size >= SHORT_SIZE;

    if (stores_short || (matches->count == 0 && stores_plain))
        write_stored(writer, chunk);
    else if (matches->count == 0 || token_count > many)
        write_literals(writer, chunk);
    else
        write_matches(writer, chunk, matches);
}

dtr_kp_work *dtr_kp_work_new(uint8_t *out, size_t out_capacity, dtr_kp_rules rules)
{
    dtr_kp_work *work = malloc(sizeof *work);

    if (work != NULL)
        work->writer = (dtr_kp_writer){
            .bits = {.at = out, .end = out + out_capacity}, .rules = rules, .open = DTR_KP_CLOSED};
    return work;
}

void dtr_kp_encode_chunk(dtr_kp_work *work, dtr_kp_search *search, const uint8_t *history,
                         int32_t start, int32_t end, int is_last)
{
    const dtr_kp_chunk chunk = {history + start, (uint32_t)(end - start), is_last};

    if (is_last && chunk.size < SHORT_SIZE && !work->writer.rules.searches_short) {
        write_short(&work->writer, &chunk);
        return;
    }
    search(&work->tables, history, start, end, &work->matches);
    write_chunk(&work->writer, &chunk, &work->matches);
}

void dtr_kp_end(dtr_kp_writer *writer)
{
    dtr_bits_put(&writer->bits, 1 | BLOCK_FIXED << 1, 3 + 7);
    dtr_bits_align(&writer->bits);
}

void dtr_kp_code_restore(dtr_kp_writer *writer)
{
    dtr_kp_header header;

    if (writer->open == DTR_KP_OPEN_LITERALS)
        plan_literals(writer, &header);
    else
        plan_full(writer, 0, &header);
    writer->header_size = header.size;
    set_codes(&writer->code);
}
