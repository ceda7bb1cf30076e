/* Go's deflate encoder up to Go 1.26, level best-speed (docs/encoders.md, section 3). */
#ifndef DTR_GO_BEST_SPEED_H
#define DTR_GO_BEST_SPEED_H

#include "replay.h"

/* Candidates reach back 32 KiB. A checkpoint is behind a chunk, and needs no byte that follows. */
#define DTR_GO_BEST_SPEED_HISTORY 32768
#define DTR_GO_BEST_SPEED_LOOKAHEAD 0

int dtr_go_best_speed_run(dtr_replay *run);

#endif
