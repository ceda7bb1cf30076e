/* One step of a job: a request, or the requests that push a blob. */
#ifndef LOAD_STEP_H
#define LOAD_STEP_H

#include "exchange.h"
#include "plan.h"

/* Registries put signed states into the location; the longest known has 700 bytes (registry v3). */
#define STEP_LOCATION_SIZE_MAX 4096

enum step_stage {
    STEP_REQUEST, /* a plain request */
    STEP_PROBE,   /* HEAD of the blob */
    STEP_START,   /* POST, which may mount */
    STEP_PATCH,   /* the body */
    STEP_CLOSE,   /* PUT without a body */
    STEP_SINGLE,  /* PUT with the body */
    STEP_DONE,
    STEP_REFUSED,
};

struct step {
    const struct plan_step *plan;
    enum step_stage stage;
    char location[STEP_LOCATION_SIZE_MAX + 1];
    char head[STEP_LOCATION_SIZE_MAX + 1024]; /* of a request to the location */
};

/* Begins the first exchange. With `verify`, answers' bodies are compared with their digests. */
void step_begin(struct step *step, const struct plan *plan, const struct plan_step *plan_step,
                struct exchange *exchange, bool verify);
/* Called when the exchange has ended. Begins the next one, or ends in STEP_DONE or STEP_REFUSED. If
 * the status is not the reason, the exchange's failure is. */
enum step_stage step_continue(struct step *step, const struct plan *plan,
                              struct exchange *exchange);
/* Keeps the upload's path from an answer. Returns false if it is missing or too long. */
bool step_locate(struct step *step, const struct answer *answer);

#endif
