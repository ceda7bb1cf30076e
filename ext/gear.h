/* Content-defined cut points: gear hash with normalized chunking (FastCDC).
 *
 * The hash of an end offset e depends only on the 64 bytes before e:
 *
 *     H(e) = sum over i in 0..63 of gear[data[e - 1 - i]] << i, modulo 2^64
 *
 * Older bytes have been shifted out by 64 or more bits. The rolling form is
 *
 *     H(e + 1) = (H(e) << 1) + gear[data[e]]
 *
 * A chunk ends at the first e in size_min .. size_max for which H(e) is below a threshold:
 * threshold_early if e < size_average, threshold_late if e >= size_average. If there is none, the
 * chunk ends at size_max.
 *
 * docs/kernels.md has the derivation. Never change a result: stored chunks depend on every bit.
 */
#ifndef DTR_GEAR_H
#define DTR_GEAR_H

#include <stddef.h>
#include <stdint.h>

/* The bytes on which one hash depends. Only the last chunk may be smaller. */
#define DTR_GEAR_WINDOW_SIZE 64

typedef struct {
    size_t size_min, size_average, size_max;
    uint64_t threshold_early, threshold_late;
} dtr_gear_limits;

/* Returns the first end in first..last whose hash is below the threshold, or 0.
 * Reads data[first - 64] to data[last - 1]; requires 64 <= first <= last. */
typedef size_t dtr_gear_find(const uint8_t *data, size_t first, size_t last, uint64_t threshold);

dtr_gear_find dtr_gear_find_reference;
dtr_gear_find dtr_gear_find_unrolled;

/* Sets the thresholds: relative to a rate of 1 cut in size_average bytes, cuts are 4 times rarer
 * before size_average and 4 times more frequent after it. size_average must be a power of two in
 * 64 .. 2^40. */
void dtr_gear_limits_init(dtr_gear_limits *limits, size_t size_min, size_t size_average,
                          size_t size_max);

/* Returns the end of the chunk that starts at data[0], or 0 if it does not end in these bytes.
 * Does not search for an end in data[0 .. scanned]. */
size_t dtr_gear_cut(const dtr_gear_limits *limits, dtr_gear_find *find, const uint8_t *data,
                    size_t size, size_t scanned);

extern const uint64_t dtr_gear_table[256];

#endif
