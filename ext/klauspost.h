/* The encoders of klauspost/compress (docs/encoders.md, Klauspost). */
#ifndef DTR_KLAUSPOST_H
#define DTR_KLAUSPOST_H

#include "replay.h"

/* pgzip at level 5: the dictionary of a part is all the history that it needs. */
#define DTR_PGZIP_HISTORY 16384

/* Levels 1 and 6 without pgzip, as Go has them since 1.27. */
#define DTR_GO127_HISTORY 32768

int dtr_go127_run_default(dtr_replay *run);
int dtr_go127_run_best_speed(dtr_replay *run);

int dtr_pgzip_run_k1(dtr_replay *run);
int dtr_pgzip_run_k2a(dtr_replay *run);
int dtr_pgzip_run_k2(dtr_replay *run);
int dtr_pgzip_run_k3(dtr_replay *run);

#endif
