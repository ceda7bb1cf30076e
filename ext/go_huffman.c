/* Huffman codes of Go's deflate encoder: lengths and canonical codes. */
#include "go_huffman.h"

#include <string.h>

/* Two digits of 9 bits hold every count below 2^18. */
#define DIGIT_BITS 9
#define DIGIT_COUNT (1 << DIGIT_BITS)

/* The used symbols, rarest first: symbols and counts by rank. */
typedef struct {
    unsigned size;
    uint16_t symbols[DTR_GO_SYMBOL_COUNT_MAX];
    uint32_t counts[DTR_GO_SYMBOL_COUNT_MAX];
} ranking;

/* Sorts symbols by one digit of their counts, and keeps the order of equal digits. */
static void sort_by_digit(uint16_t *sorted, const uint16_t *symbols, unsigned size,
                          const uint32_t *counts, unsigned shift)
{
    uint16_t starts[DIGIT_COUNT + 1] = {0};

    for (unsigned i = 0; i < size; i++)
        starts[((counts[symbols[i]] >> shift) & (DIGIT_COUNT - 1)) + 1]++;
    for (unsigned digit = 1; digit < DIGIT_COUNT; digit++)
        starts[digit] = (uint16_t)(starts[digit] + starts[digit - 1]);
    for (unsigned i = 0; i < size; i++)
        sorted[starts[(counts[symbols[i]] >> shift) & (DIGIT_COUNT - 1)]++] = symbols[i];
}

static void rank_symbols(ranking *ranks, const uint32_t *counts, unsigned size)
{
    uint16_t used[DTR_GO_SYMBOL_COUNT_MAX] = {0}, by_low[DTR_GO_SYMBOL_COUNT_MAX];

    ranks->size = 0;
    for (unsigned symbol = 0; symbol < size; symbol++)
        if (counts[symbol] > 0)
            used[ranks->size++] = (uint16_t)symbol;
    sort_by_digit(by_low, used, ranks->size, counts, 0);
    sort_by_digit(ranks->symbols, by_low, ranks->size, counts, DIGIT_BITS);
    for (unsigned rank = 0; rank < ranks->size; rank++)
        ranks->counts[rank] = counts[ranks->symbols[rank]];
}

/* Builds Huffman's tree from two queues: leaves by rank, and pairs in order of creation. A pair
 * precedes a leaf of equal weight. Numbers of nodes: leaves first, then pairs; the root is last. */
static void build_tree(uint16_t *parents, const ranking *ranks)
{
    uint32_t pairs[DTR_GO_SYMBOL_COUNT_MAX];
    const unsigned leaf_count = ranks->size;
    unsigned leaf = 0, pair = 0;

    for (unsigned made = 0; made + 1 < leaf_count; made++) {
        pairs[made] = 0;
        for (unsigned half = 0; half < 2; half++) {
            const int is_pair =
                pair < made && (leaf == leaf_count || pairs[pair] <= ranks->counts[leaf]);
            const unsigned node = is_pair ? leaf_count + pair : leaf;

            pairs[made] += is_pair ? pairs[pair++] : ranks->counts[leaf++];
            parents[node] = (uint16_t)(leaf_count + made);
        }
    }
}

/* Sets the depth of each leaf in the tree of build_tree; returns the greatest one. */
static unsigned measure_depths(uint16_t *depths, const uint16_t *parents, unsigned leaf_count)
{
    const unsigned root = 2 * leaf_count - 2;
    uint16_t all[2 * DTR_GO_SYMBOL_COUNT_MAX];

    all[root] = 0;
    for (unsigned node = root; node-- > 0;)
        all[node] = (uint16_t)(all[parents[node]] + 1);
    memcpy(depths, all, leaf_count * sizeof all[0]);
    return depths[0];
}

/* Makes the list of one level from the list before it: leaves, and pairs of that list's items. Sets
 * is_leaf for the items that can be needed, at most 2 * leaves - 2; returns their number. */
static unsigned merge_level(uint32_t *items, uint8_t *is_leaf, const uint32_t *before,
                            unsigned before_size, const ranking *ranks)
{
    const unsigned pair_count = before_size / 2;
    unsigned size = 0, leaf = 0, pair = 0;

    while (size < 2 * ranks->size - 2 && (leaf < ranks->size || pair < pair_count)) {
        const uint32_t sum =
            pair < pair_count ? before[2 * pair] + before[2 * pair + 1] : UINT32_MAX;

        is_leaf[size] = leaf < ranks->size && ranks->counts[leaf] < sum;
        if (is_leaf[size])
            items[size++] = ranks->counts[leaf++];
        else
            items[size++] = sum, pair++;
    }
    return size;
}

/* Sets the depths of an optimal code that is limited, by package-merge. */
static void limit_depths(uint16_t *depths, const ranking *ranks, unsigned limit)
{
    uint32_t items[2][2 * DTR_GO_SYMBOL_COUNT_MAX];
    uint8_t is_leaf[DTR_GO_CODE_LENGTH_MAX][2 * DTR_GO_SYMBOL_COUNT_MAX];
    const unsigned levels = limit < ranks->size - 1 ? limit : ranks->size - 1;
    unsigned size = 0, needed = 2 * ranks->size - 2;

    for (unsigned level = 0; level < levels; level++)
        size = merge_level(items[level & 1], is_leaf[level], items[~level & 1], size, ranks);
    memset(depths, 0, ranks->size * sizeof depths[0]);
    for (unsigned level = levels; level-- > 0;) {
        unsigned leaves = 0;

        for (unsigned i = 0; i < needed; i++)
            leaves += is_leaf[level][i];
        for (unsigned rank = 0; rank < leaves; rank++)
            depths[rank]++;
        needed = 2 * (needed - leaves);
    }
}

void dtr_go_code_lengths(uint8_t *lengths, const uint32_t *counts, unsigned size, unsigned limit)
{
    uint16_t parents[2 * DTR_GO_SYMBOL_COUNT_MAX], depths[DTR_GO_SYMBOL_COUNT_MAX] = {1, 1};
    ranking ranks;

    rank_symbols(&ranks, counts, size);
    if (ranks.size > 2) {
        build_tree(parents, &ranks);
        if (measure_depths(depths, parents, ranks.size) > limit)
            limit_depths(depths, &ranks, limit);
    }
    memset(lengths, 0, size);
    for (unsigned rank = 0; rank < ranks.size; rank++)
        lengths[ranks.symbols[rank]] = (uint8_t)depths[rank];
}

static uint16_t reverse_bits(uint32_t code, unsigned count)
{
    code = (code & 0x5555) << 1 | ((code >> 1) & 0x5555);
    code = (code & 0x3333) << 2 | ((code >> 2) & 0x3333);
    code = (code & 0x0f0f) << 4 | ((code >> 4) & 0x0f0f);
    code = (code & 0x00ff) << 8 | code >> 8;
    return (uint16_t)(code >> (16 - count));
}

void dtr_go_codes(uint16_t *codes, const uint8_t *lengths, unsigned size)
{
    uint32_t next[DTR_GO_CODE_LENGTH_MAX + 1], sizes[DTR_GO_CODE_LENGTH_MAX + 1] = {0};

    for (unsigned symbol = 0; symbol < size; symbol++)
        sizes[lengths[symbol]]++;
    sizes[0] = next[0] = 0;
    for (unsigned length = 1; length <= DTR_GO_CODE_LENGTH_MAX; length++)
        next[length] = (next[length - 1] + sizes[length - 1]) << 1;
    for (unsigned symbol = 0; symbol < size; symbol++)
        codes[symbol] = reverse_bits(next[lengths[symbol]]++, lengths[symbol]);
}
