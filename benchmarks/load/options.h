/* The options of the command line. */
#ifndef LOAD_OPTIONS_H
#define LOAD_OPTIONS_H

#include "transport.h"

enum hold_kind { HOLD_IDLE, HOLD_SLOW_UPLOAD, HOLD_STALLED_PULL };

struct options {
    struct server server;
    uint32_t connections;
    uint64_t timeout; /* nanoseconds without a byte */
    /* of a run */
    uint64_t duration; /* nanoseconds; 0: until the jobs are done */
    bool repeat, verify;
    /* of held connections */
    enum hold_kind kind;
    const char *path, *host;
    uint64_t prefix_size;
};

/* Runs the plan on standard input and prints the result. Returns the exit status. */
int run_plan(const struct options *options);
/* Opens connections and keeps them until standard input ends. Returns the exit status. */
int hold_connections(const struct options *options);

#endif
