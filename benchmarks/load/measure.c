#include "measure.h"

#include <math.h>

#define BUCKET_COUNT (1u << HISTOGRAM_BITS)

/* Returns the number of halvings until a value is below two rows of buckets. */
static unsigned shift_of(uint64_t value)
{
    return value < BUCKET_COUNT ? 0 : 63 - HISTOGRAM_BITS - (unsigned)__builtin_clzll(value);
}

static unsigned bucket_of(uint64_t value)
{
    const unsigned shift = shift_of(value);

    return (shift << HISTOGRAM_BITS) + (unsigned)(value >> shift);
}

/* Returns the middle of a bucket: bucket_of(middle_of(b)) is b. */
static uint64_t middle_of(unsigned bucket)
{
    const unsigned shift = bucket < 2 * BUCKET_COUNT ? 0 : (bucket >> HISTOGRAM_BITS) - 1;
    const uint64_t low = (uint64_t)(bucket - (shift << HISTOGRAM_BITS)) << shift;

    return low + ((1ull << shift) >> 1);
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->buckets[bucket_of(value)]++;
    histogram->count++;
    if (value > histogram->maximum)
        histogram->maximum = value;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    const uint64_t wanted = (uint64_t)ceil(share * (double)histogram->count);
    uint64_t seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_SIZE; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted && seen > 0) {
            const uint64_t middle = middle_of(i);
            return middle < histogram->maximum ? middle : histogram->maximum;
        }
    }
    return 0;
}
