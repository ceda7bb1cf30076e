#include "zlib_match.h"

static void count_hashes(uint16_t *hashes, const uint8_t *bytes, uint32_t count, uint16_t *counts)
{
    for (uint32_t i = 0; i < count; i++)
        hashes[i] = (uint16_t)dtr_zlib_hash(bytes + i);
    memset(counts, 0, DTR_ZLIB_HASHES * sizeof counts[0]);
    for (uint32_t i = 0; i < count; i++)
        counts[hashes[i]]++;
}

void dtr_zlib_index_block(dtr_zlib_index *index, const uint8_t *bytes, uint32_t first,
                          uint32_t count)
{
    dtr_zlib_sorted *sorted = &index->sorted[1 - index->current];
    /* The place of the next position with each hash. At last, it is where the next hash starts. */
    uint16_t *places = sorted->starts + 1;
    uint16_t sum = 0;

    index->current = 1 - index->current;
    count_hashes(index->hashes + first, bytes, count, places);
    for (uint32_t i = 0; i < DTR_ZLIB_HASHES; i++) {
        const uint16_t hash_count = places[i];

        places[i] = sum;
        sum = (uint16_t)(sum + hash_count);
    }
    sorted->starts[0] = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint16_t place = places[index->hashes[first + i]]++;

        index->entries[first + i] = place;
        sorted->positions[place] = (uint16_t)(first + i);
    }
}
