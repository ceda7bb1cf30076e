/* One step of a job: a request, or the requests that push a blob. */
#ifndef LOAD_STEP_H
#define LOAD_STEP_H

#include "exchange.h"
#include "plan.h"

/* Registries put signed states into it; the longest seen is 700 bytes (registry v3). */
#define STEP_LOCATION_SIZE_MAX 4096

enum step_stage {
    STEP_REQUEST, /* the only one of a plain request */
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
    char head[STEP_LOCATION_SIZE_MAX + 1024]; /* of a request that goes to the location */
};

/* Begins the first exchange. With `verify` bodies of answers are compared with their digests. */
void step_begin(struct step *step, const struct plan *plan, const struct plan_step *plan_step,
                struct exchange *exchange, bool verify);
/* The exchange is finished: begins the next one, or ends in STEP_DONE or STEP_REFUSED. The failure
 * of the exchange says why if it is not the status. */
enum step_stage step_continue(struct step *step, const struct plan *plan,
                              struct exchange *exchange);
/* Keeps the path of the upload that an answer told of; false if it told of none, or too long. */
bool step_locate(struct step *step, const struct answer *answer);

#endif
