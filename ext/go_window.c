/* The candidates of matches: a radix sort of positions by hash, in two digits. */
#include "go_window.h"

#include <string.h>

/* An entry is the product with the offset in the bits that the hash drops. */
#define OFFSET_MASK (DTR_GO_HALF_SIZE - 1)

static inline uint32_t low_digit(uint32_t entry)
{
    return (entry >> 15) & (DTR_GO_LOW_COUNT - 1);
}

/* Sorts the positions by their low digits, and counts the high ones. Unrolled, with counters of 16
 * bits, the whole encoder takes a tenth less time: the loops are bound by their instructions, and by
 * the wait for a counter that was just stored. */
static void sort_low(dtr_go_half *half, const uint8_t *plain, size_t size)
{
    uint32_t sum = 0;

    memset(half->low_ends, 0, sizeof half->low_ends);
    memset(half->high_counts, 0, sizeof half->high_counts);
#pragma GCC unroll 8
    for (size_t i = 0; i < size; i++) {
        const uint32_t product = dtr_go_hash_product(plain + i);

        half->low_ends[low_digit(product)]++;
        half->high_counts[product >> 24]++;
    }
    for (unsigned low = 0; low < DTR_GO_LOW_COUNT; low++) {
        const uint32_t count = half->low_ends[low];

        half->low_ends[low] = (uint16_t)sum;
        sum += count;
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < size; i++) {
        const uint32_t product = dtr_go_hash_product(plain + i);

        half->entries[half->low_ends[low_digit(product)]++] =
            (product & ~(uint32_t)OFFSET_MASK) | (uint32_t)i;
    }
}

/* Sorts both halves by their high digits. Both sorts keep the order of equal digits, so equal
 * hashes stay in the order of positions, and those of the older half come first. */
static void sort_high(dtr_go_window *window)
{
    const uint32_t *older = window->older->entries, *newer = window->newer->entries;
    const uint32_t shift = (uint32_t)window->newer_start;
    uint16_t *restrict sorted = window->sorted, *restrict places = window->places;
    uint16_t next[DTR_GO_HIGH_COUNT];
    uint32_t sum = 0;

    for (unsigned high = 0; high < DTR_GO_HIGH_COUNT; high++) {
        next[high] = (uint16_t)sum;
        sum += window->older->high_counts[high] + window->newer->high_counts[high];
    }
    for (unsigned low = 0; low < DTR_GO_LOW_COUNT; low++) {
        const uint32_t *older_end = window->older->entries + window->older->low_ends[low];
        const uint32_t *newer_end = window->newer->entries + window->newer->low_ends[low];

        for (; older < older_end; older++)
            sorted[next[*older >> 24]++] = *older & OFFSET_MASK;
        for (; newer < newer_end; newer++) {
            const uint32_t offset = *newer & OFFSET_MASK, place = next[*newer >> 24]++;

            sorted[place] = (uint16_t)(offset + shift);
            places[offset] = (uint16_t)place;
        }
    }
}

void dtr_go_window_start(dtr_go_window *window, const uint8_t *plain, size_t size)
{
    window->older = &window->halves[0];
    window->newer = &window->halves[1];
    window->newer_start = 0;
    sort_low(window->older, plain, 0);
    sort_low(window->newer, plain, size);
    sort_high(window);
}

void dtr_go_window_append(dtr_go_window *window, const uint8_t *plain, size_t size)
{
    dtr_go_half *half = window->older;

    window->older = window->newer;
    window->newer = half;
    window->newer_start = DTR_GO_HALF_SIZE;
    sort_low(window->newer, plain, size);
    sort_high(window);
}
