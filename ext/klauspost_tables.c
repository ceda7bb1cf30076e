#include "klauspost_match.h"

void dtr_kp_tables_clear(dtr_kp_tables *tables)
{
    for (size_t i = 0; i < DTR_KP_TABLE_SIZE; i++) {
        tables->by_four[i] = DTR_KP_NONE;
        tables->by_seven[i] = dtr_kp_pair_with((uint32_t)DTR_KP_NONE, DTR_KP_NONE);
    }
}
