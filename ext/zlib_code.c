/* Huffman's algorithm on a binary heap. Its order of equal nodes is part of the format. */
#include "zlib_code.h"

#include "deflate_tokens.h"

#include <string.h>

#define NODES_MAX (2 * DTR_DEFLATE_LITERALS)

typedef struct {
    /* From slot 1 on: the weight from bit 32 on, the height from bit 16 on, and the node. */
    uint64_t heap[DTR_DEFLATE_LITERALS + 1];
    unsigned count;      /* nodes in the heap */
    unsigned leaf_limit; /* nodes below it are symbols */
    unsigned removed_count;
    uint16_t removed[NODES_MAX]; /* all nodes but the root; parents behind their children */
    uint16_t parents[NODES_MAX];
} huffman_tree;

#define WEIGHT_SHIFT 32
#define HEIGHT_SHIFT 16
#define NODE_MASK 0xffffu
#define HEIGHT_MASK 0xffffu

/* The order has weight and height only: nodes can be equal, and then each is before the other. */
static int is_before(uint64_t node, uint64_t other)
{
    return node >> HEIGHT_SHIFT <= other >> HEIGHT_SHIFT;
}

static void sift_down(huffman_tree *tree, unsigned slot)
{
    const uint64_t node = tree->heap[slot];

    for (unsigned child = 2 * slot; child <= tree->count; child = 2 * slot) {
        if (child < tree->count && is_before(tree->heap[child + 1], tree->heap[child]))
            child++;
        if (is_before(node, tree->heap[child]))
            break;
        tree->heap[slot] = tree->heap[child];
        slot = child;
    }
    tree->heap[slot] = node;
}

static void add_leaf(huffman_tree *tree, unsigned symbol, uint32_t weight)
{
    tree->heap[++tree->count] = (uint64_t)weight << WEIGHT_SHIFT | symbol;
}

/* Fills the heap. Returns the highest symbol with a code. */
static unsigned add_leaves(huffman_tree *tree, const uint32_t *counts, unsigned size)
{
    int highest = -1;

    for (unsigned i = 0; i < size; i++) {
        if (counts[i] == 0)
            continue;
        add_leaf(tree, i, counts[i]);
        highest = (int)i;
    }
    while (tree->count < 2) {
        if (highest < 2)
            add_leaf(tree, (unsigned)++highest, 1);
        else
            add_leaf(tree, 0, 1);
    }
    for (unsigned slot = tree->count / 2; slot >= 1; slot--)
        sift_down(tree, slot);
    return (unsigned)highest;
}

static void merge_nodes(huffman_tree *tree)
{
    unsigned next = tree->leaf_limit;

    while (tree->count >= 2) {
        const uint64_t first = tree->heap[1];

        tree->heap[1] = tree->heap[tree->count--];
        sift_down(tree, 1);
        const uint64_t second = tree->heap[1];
        const uint64_t weight = (first >> WEIGHT_SHIFT) + (second >> WEIGHT_SHIFT);
        const uint64_t first_height = first >> HEIGHT_SHIFT & HEIGHT_MASK;
        const uint64_t second_height = second >> HEIGHT_SHIFT & HEIGHT_MASK;
        const uint64_t height = 1 + (first_height > second_height ? first_height : second_height);

        tree->removed[tree->removed_count++] = (uint16_t)(first & NODE_MASK);
        tree->removed[tree->removed_count++] = (uint16_t)(second & NODE_MASK);
        tree->parents[first & NODE_MASK] = tree->parents[second & NODE_MASK] = (uint16_t)next;
        tree->heap[1] = weight << WEIGHT_SHIFT | height << HEIGHT_SHIFT | next++;
        sift_down(tree, 1);
    }
}

/* Sets the lengths to the depths of the leaves, but not above the limit, and how many leaves have
 * each length. Returns the number of nodes that are too deep, inner ones included. */
static int measure_depths(const huffman_tree *tree, unsigned limit, uint8_t *lengths,
                          unsigned *per_length)
{
    uint16_t depths[NODES_MAX];
    int too_deep = 0;

    depths[tree->heap[1] & NODE_MASK] = 0;
    for (unsigned i = tree->removed_count; i-- > 0;) {
        const unsigned node = tree->removed[i];
        const unsigned depth = depths[tree->parents[node]] + 1u;

        depths[node] = (uint16_t)depth;
        too_deep += depth > limit;
        if (node < tree->leaf_limit) {
            lengths[node] = (uint8_t)(depth < limit ? depth : limit);
            per_length[lengths[node]]++;
        }
    }
    return too_deep;
}

/* Makes the code complete again: a pair of the deepest leaves moves up below a shorter leaf. */
static void repair_lengths(const huffman_tree *tree, unsigned limit, int too_deep,
                           uint8_t *lengths, unsigned *per_length)
{
    unsigned length = limit;

    for (; too_deep > 0; too_deep -= 2) {
        unsigned shorter = limit - 1;

        while (per_length[shorter] == 0)
            shorter--;
        per_length[shorter]--;
        per_length[shorter + 1] += 2;
        per_length[limit]--;
    }
    for (unsigned i = 0; i < tree->removed_count; i++) {
        const unsigned node = tree->removed[i];

        if (node >= tree->leaf_limit)
            continue;
        while (per_length[length] == 0)
            length--;
        lengths[node] = (uint8_t)length;
        per_length[length]--;
    }
}

unsigned dtr_zlib_code_lengths(const uint32_t *counts, unsigned size, unsigned limit,
                               uint8_t *lengths)
{
    unsigned per_length[DTR_DEFLATE_CODE_LENGTH_MAX + 1] = {0};
    huffman_tree tree;
    int too_deep;

    tree.count = tree.removed_count = 0;
    tree.leaf_limit = size;
    memset(lengths, 0, size);
    const unsigned highest = add_leaves(&tree, counts, size);
    merge_nodes(&tree);
    too_deep = measure_depths(&tree, limit, lengths, per_length);
    if (too_deep > 0)
        repair_lengths(&tree, limit, too_deep, lengths, per_length);
    return highest;
}
