/* Content-defined cut points: gear hash with normalized chunking (FastCDC).
 *
 * The hash of an end offset e is a function of the 64 bytes before e and of nothing else:
 *
 *     H(e) = sum over i in 0..63 of gear[data[e - 1 - i]] << i, modulo 2^64
 *
 * because a shift by 64 or more leaves nothing. Rolled, it is H(e + 1) = (H(e) << 1) +
 * gear[data[e]]. A chunk ends at the first e in size_min .. size_max for which H(e) is below
 * threshold_early (e < size_average) or threshold_late (e >= size_average), else at size_max.
 * docs/kernels.md has the derivation; stored data depends on every bit of this.
 */
#ifndef DTR_GEAR_H
#define DTR_GEAR_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that one hash depends on; no chunk but the last may be smaller. */
#define DTR_GEAR_WINDOW_SIZE 64

typedef struct {
    size_t size_min, size_average, size_max;
    uint64_t threshold_early, threshold_late;
} dtr_gear_limits;

/* The first end in first..last whose hash is below the threshold, or 0.
 * Reads data[first - 64] to data[last - 1]; wants 64 <= first <= last. */
typedef size_t dtr_gear_find(const uint8_t *data, size_t first, size_t last, uint64_t threshold);

dtr_gear_find dtr_gear_find_reference;
dtr_gear_find dtr_gear_find_unrolled;

/* The thresholds make a cut 4 times rarer than 1 in size_average before it, 4 times likelier
 * after. Wants size_average to be a power of two in 64 .. 2^40. */
void dtr_gear_limits_init(dtr_gear_limits *limits, size_t size_min, size_t size_average,
                          size_t size_max);

/* The end of the chunk that starts at data[0], or 0 if it does not end in these bytes.
 * No end is looked for in data[0 .. scanned]. */
size_t dtr_gear_cut(const dtr_gear_limits *limits, dtr_gear_find *find, const uint8_t *data,
                    size_t size, size_t scanned);

extern const uint64_t dtr_gear_table[256];

#endif
