/* Code lengths: Huffman's algorithm with two queues, or package-merge where a limit binds. */
#include "klauspost_code.h"

#include <stddef.h>
#include <string.h>

#define CODE_LENGTH_MAX 15

/* A count has at most 17 bits. Two passes of the sort take 9 bits each. */
#define SORT_BITS 9
#define SORT_SIZE (1 << SORT_BITS)

/* The symbols that occur, the rarest first, and the lower symbol first among equals. */
typedef struct {
    unsigned count;
    uint32_t weights[DTR_KP_SYMBOLS_MAX];
    uint16_t symbols[DTR_KP_SYMBOLS_MAX];
} leaves;

static void sort_pass(const leaves *from, leaves *to, unsigned shift)
{
    uint16_t starts[SORT_SIZE + 1] = {0};

    for (unsigned i = 0; i < from->count; i++)
        starts[(from->weights[i] >> shift & (SORT_SIZE - 1)) + 1]++;
    for (unsigned i = 1; i < SORT_SIZE; i++)
        starts[i] += starts[i - 1];
    for (unsigned i = 0; i < from->count; i++) {
        const unsigned slot = starts[from->weights[i] >> shift & (SORT_SIZE - 1)]++;
        to->weights[slot] = from->weights[i];
        to->symbols[slot] = from->symbols[i];
    }
    to->count = from->count;
}

static void sort_leaves(const uint32_t *counts, unsigned size, leaves *sorted)
{
    leaves other;

    sorted->count = 0;
    for (unsigned i = 0; i < size; i++) {
        if (counts[i] == 0)
            continue;
        sorted->weights[sorted->count] = counts[i];
        sorted->symbols[sorted->count++] = (uint16_t)i;
    }
    sort_pass(sorted, &other, 0);
    sort_pass(&other, sorted, SORT_BITS);
}

/* Sets how many leaves have each length. Returns 0 if a length would pass the limit. */
static int count_huffman(const leaves *sorted, unsigned limit, int leaf_first,
                         uint16_t per_length[CODE_LENGTH_MAX + 1])
{
    const unsigned leaf_count = sorted->count;
    uint32_t weights[DTR_KP_SYMBOLS_MAX];
    /* First the parents of leaves, then those of pairs; then the depths of pairs. */
    uint16_t leaf_parents[DTR_KP_SYMBOLS_MAX], parents[DTR_KP_SYMBOLS_MAX];
    unsigned leaf = 0, pair = 0;

    for (unsigned made = 0; made < leaf_count - 1; made++) {
        weights[made] = 0;
        for (int pick = 0; pick < 2; pick++) {
            if (leaf < leaf_count &&
                (pair == made || sorted->weights[leaf] + !leaf_first <= weights[pair])) {
                weights[made] += sorted->weights[leaf];
                leaf_parents[leaf++] = (uint16_t)made;
            } else {
                weights[made] += weights[pair];
                parents[pair++] = (uint16_t)made;
            }
        }
    }
    memset(per_length, 0, (CODE_LENGTH_MAX + 1) * sizeof per_length[0]);
    parents[leaf_count - 2] = 0;
    for (unsigned i = leaf_count - 2; i-- > 0;)
        parents[i] = parents[parents[i]] + 1;
    for (unsigned i = 0; i < leaf_count; i++) {
        const unsigned length = parents[leaf_parents[i]] + 1u;
        if (length > limit)
            return 0;
        per_length[length]++;
    }
    return 1;
}

/* One list of package-merge: leaves and packages, ascending by weight. */
typedef struct {
    unsigned count;
    uint32_t weights[2 * DTR_KP_SYMBOLS_MAX];
    uint8_t is_package[2 * DTR_KP_SYMBOLS_MAX];
} merge_list;

/* Merges the leaves with pairs of items of the list below. A package comes before a leaf of its
 * weight. */
static void merge(const leaves *sorted, const merge_list *below, merge_list *list)
{
    const unsigned package_count = below->count / 2;
    unsigned leaf = 0, package = 0;

    list->count = sorted->count + package_count;
    for (unsigned i = 0; i < list->count; i++) {
        const uint32_t weight = package < package_count ? below->weights[2 * package] +
                                                              below->weights[2 * package + 1]
                                                        : UINT32_MAX;
        list->is_package[i] = leaf == sorted->count || weight <= sorted->weights[leaf];
        if (list->is_package[i]) {
            list->weights[i] = weight;
            package++;
        } else {
            list->weights[i] = sorted->weights[leaf++];
        }
    }
}

/* Package-merge (Larmore and Hirschberg, 1990): sets how many leaves have each length. */
static void count_limited(const leaves *sorted, unsigned limit,
                          uint16_t per_length[CODE_LENGTH_MAX + 1])
{
    merge_list lists[CODE_LENGTH_MAX + 1];
    unsigned taken = 2 * sorted->count - 2, longer = sorted->count;

    lists[0].count = 0;
    for (unsigned i = 1; i <= limit; i++)
        merge(sorted, &lists[i - 1], &lists[i]);
    memset(per_length, 0, (CODE_LENGTH_MAX + 1) * sizeof per_length[0]);
    for (unsigned length = 0; length <= limit; length++) {
        unsigned package_count = 0;

        for (unsigned i = 0; i < taken; i++)
            package_count += lists[limit - length].is_package[i];
        /* So many leaves are longer than `length`. */
        per_length[length] = (uint16_t)(longer - (taken - package_count));
        longer = taken - package_count;
        taken = 2 * package_count;
    }
}

void dtr_kp_code_lengths(const uint32_t *counts, unsigned size, unsigned limit, int leaf_first,
                         uint8_t *lengths)
{
    uint16_t per_length[CODE_LENGTH_MAX + 1];
    leaves sorted;
    unsigned next = 0;

    sort_leaves(counts, size, &sorted);
    memset(lengths, 0, size);
    if (sorted.count <= 2) {
        for (unsigned i = 0; i < sorted.count; i++)
            lengths[sorted.symbols[i]] = 1;
        return;
    }
    if (!count_huffman(&sorted, limit, leaf_first, per_length))
        count_limited(&sorted, limit < sorted.count - 1 ? limit : sorted.count - 1, per_length);
    for (unsigned length = CODE_LENGTH_MAX; length > 0; length--)
        for (unsigned i = 0; i < per_length[length]; i++)
            lengths[sorted.symbols[next++]] = (uint8_t)length;
}
