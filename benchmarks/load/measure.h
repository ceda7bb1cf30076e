/* Counts and latencies of what happened under one label. */
#ifndef LOAD_MEASURE_H
#define LOAD_MEASURE_H

#include <stdint.h>

/* Each power of two has 32 buckets, so that a bucket's middle is within 1.6 % of what is in it. */
#define HISTOGRAM_BITS 5
#define HISTOGRAM_SIZE ((64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

struct histogram {
    uint64_t count, maximum;
    uint64_t buckets[HISTOGRAM_SIZE];
};

struct measure {
    uint64_t errors, bytes_in, bytes_out;
    struct histogram latency; /* in nanoseconds, of what went well */
};

void histogram_add(struct histogram *histogram, uint64_t value);
/* A value that `share` of all are not above; 0 if there are none. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif
