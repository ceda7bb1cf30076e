/* Counts and latencies of one label. */
#ifndef LOAD_MEASURE_H
#define LOAD_MEASURE_H

#include <stdint.h>

/* Each power of two has 32 buckets, so a bucket's middle is within 1.6 % of its values. */
#define HISTOGRAM_BITS 5
#define HISTOGRAM_SIZE ((64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

struct histogram {
    uint64_t count, maximum;
    uint64_t buckets[HISTOGRAM_SIZE];
};

struct measure {
    uint64_t errors, bytes_in, bytes_out;
    struct histogram latency; /* of successes, in nanoseconds */
};

void histogram_add(struct histogram *histogram, uint64_t value);
/* Returns the quantile `share` of the values; 0 if there are none. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif
