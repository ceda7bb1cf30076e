/* The encoders zlib, GNU gzip and pigz at level 6 (docs/encoders.md, zlib). */
#ifndef DTR_ZLIB_ENCODERS_H
#define DTR_ZLIB_ENCODERS_H

#include "replay.h"

/* The largest distance of a match. */
#define DTR_ZLIB_HISTORY 32506

/* gzip compares the last bytes of a stream with those one window step before offsets behind its
 * end. The last checkpoint is at least 5 bytes before the end: the step before it has 262 bytes
 * ahead, and a match that began at the position before covers 257 of them. The first two bytes
 * behind the end are zeros. */
#define DTR_GNU_GZIP_HISTORY (32768 - 5 - 2)

/* A match that begins at the checkpoint reads so far. Parts of pigz end there. */
#define DTR_ZLIB_LOOKAHEAD 258

int dtr_zlib_run(dtr_replay *run);
int dtr_gnu_gzip_run(dtr_replay *run);
int dtr_pigz_run(dtr_replay *run);

#endif
