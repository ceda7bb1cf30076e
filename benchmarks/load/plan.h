/* The plan of a run as load.py writes it: tables of fixed records, then a heap of bytes.
 *
 * In the file, little-endian: struct plan_header; the spans of the labels, first those of steps;
 * the steps; the jobs; the heap. It is mapped and used in place, so that a plan of 100,000
 * jobs costs the run nothing.
 */
#ifndef LOAD_PLAN_H
#define LOAD_PLAN_H

#include <stddef.h>
#include <stdint.h>

#define PLAN_EXPECT_COUNT_MAX 4

enum plan_kind { PLAN_REQUEST = 0, PLAN_PUSH = 1 };
/* The order of load.py's Framing. */
enum plan_framing { PLAN_CHUNKED = 0, PLAN_LENGTH = 1, PLAN_SINGLE = 2 };
enum plan_flag { PLAN_BODILESS = 1, PLAN_MOUNTS = 2 };

/* A range of the heap. */
struct plan_span {
    uint32_t offset, size;
};

struct plan_step {
    uint8_t kind, framing, flags, expect_count;
    uint16_t expect[PLAN_EXPECT_COUNT_MAX];
    uint32_t label;
    struct plan_span head; /* a request with its small body, or the POST that begins a push */
    uint32_t body_size;    /* the size of the small body */
    uint32_t chunk_size;
    struct plan_span probe;  /* the HEAD of the blob before a push, if any */
    struct plan_span digest; /* of the answer's body; for a push, in the form of a query */
    struct plan_span file;   /* the path of a push's body, with its zero byte */
    uint64_t offset, size;   /* the part of that file */
};

struct plan_job {
    uint32_t step_first, step_count, label;
};

struct plan_header {
    char magic[8];
    uint32_t step_label_count, job_label_count, step_count, job_count, heap_size, reserved;
    struct plan_span host;
};

_Static_assert(sizeof(struct plan_step) == 72, "load.py writes 72 bytes");
_Static_assert(sizeof(struct plan_job) == 12, "load.py writes 12 bytes");
_Static_assert(sizeof(struct plan_header) == 40, "load.py writes 40 bytes");

struct plan {
    const struct plan_header *header;
    const struct plan_span *step_labels, *job_labels;
    const struct plan_step *steps;
    const struct plan_job *jobs;
    const char *heap;
};

/* Maps the plan of the descriptor until the process ends. Returns 0, or -1 if it is invalid. */
int plan_open(struct plan *plan, int fd);

static inline const char *plan_bytes(const struct plan *plan, struct plan_span span)
{
    return plan->heap + span.offset;
}

#endif
