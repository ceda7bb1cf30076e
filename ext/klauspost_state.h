/* The state of a checkpoint between two chunks of a plain stream, in bytes. */
#ifndef DTR_KLAUSPOST_STATE_H
#define DTR_KLAUSPOST_STATE_H

#include "klauspost_blocks.h"

/* One bit for each position of the window, in one table. */
#define DTR_KP_MAP_SIZE (DTR_KP_WINDOW / 8)

/* Two code lengths are in one byte. */
#define DTR_KP_LENGTHS_SIZE ((DTR_KP_LITERAL_CODES + DTR_KP_DISTANCE_CODES) / 2)

enum { DTR_KP_MAPS_LEVEL1 = 2, DTR_KP_MAPS_LEVEL6 = 3 };

/* All of a state; level 1 leaves the last map out. There is no padding. */
typedef struct {
    uint32_t magic, encoder;
    uint64_t position;
    uint8_t bits, bit_count; /* of the byte that the stream is in */
    uint8_t open;
    uint8_t zero;
    uint8_t lengths[DTR_KP_LENGTHS_SIZE]; /* of the open block's code */
    uint8_t zeros[2];
    uint8_t maps[DTR_KP_MAPS_LEVEL6][DTR_KP_MAP_SIZE];
} dtr_kp_state;

/* The bytes of a state with `map_count` maps. */
size_t dtr_kp_state_size(int map_count);

/* Saves the writer and the tables at the position `at` of the history. At least a window is before
 * it. The caller sets the first three fields. */
void dtr_kp_state_save(dtr_kp_state *state, int map_count, const dtr_kp_writer *writer,
                       const dtr_kp_tables *tables, const uint8_t *history, int32_t at);

/* Restores what was saved. Returns 0 if no run of the encoder has this state with this history. */
int dtr_kp_state_load(const dtr_kp_state *state, int map_count, dtr_kp_writer *writer,
                      dtr_kp_tables *tables, const uint8_t *history, int32_t at);

#endif
