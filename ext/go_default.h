/* Go's deflate encoder up to Go 1.26, level default (docs/encoders.md, section 2). */
#ifndef DTR_GO_DEFAULT_H
#define DTR_GO_DEFAULT_H

#include "replay.h"

/* Candidates reach back 32 KiB. */
#define DTR_GO_DEFAULT_HISTORY 32768

/* A match search at the first position of the next block reads 258 bytes. */
#define DTR_GO_DEFAULT_LOOKAHEAD 258

int dtr_go_default_run(dtr_replay *run);

#endif
