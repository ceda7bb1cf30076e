#include "step.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool expected(const struct plan_step *plan, int status)
{
    for (int i = 0; i < plan->expect_count; i++)
        if (plan->expect[i] == status)
            return true;
    return false;
}

/* Decides the next exchange after an answer. */
static enum step_stage stage_after(const struct plan_step *plan, enum step_stage stage, int status)
{
    switch (stage) {
    case STEP_REQUEST:
        return expected(plan, status) ? STEP_DONE : STEP_REFUSED;
    case STEP_PROBE:
        return status == 200 ? STEP_DONE : status == 404 ? STEP_START : STEP_REFUSED;
    case STEP_START:
        if (status == 201 && plan->flags & PLAN_MOUNTS)
            return STEP_DONE;
        if (status != 202)
            return STEP_REFUSED;
        return plan->framing == PLAN_SINGLE ? STEP_SINGLE : STEP_PATCH;
    case STEP_PATCH:
        return status == 202 || status == 204 ? STEP_CLOSE : STEP_REFUSED;
    default:
        return status == 201 ? STEP_DONE : STEP_REFUSED;
    }
}

bool step_locate(struct step *step, const struct answer *answer)
{
    const char *location = answer->location, *end, *scheme;

    if (!location)
        return false;
    end = location + answer->location_size;
    scheme = memmem(location, answer->location_size, "://", 3);
    if (scheme && location[0] != '/') {
        location = memchr(scheme + 3, '/', (size_t)(end - scheme) - 3);
        if (!location)
            return false;
    }
    if (end - location > STEP_LOCATION_SIZE_MAX || location[0] != '/')
        return false;
    memcpy(step->location, location, (size_t)(end - location));
    step->location[end - location] = 0;
    return true;
}

/* Writes the head of a request to the location. */
static size_t write_head(struct step *step, const struct plan *plan)
{
    const struct plan_span host = plan->header->host, digest = step->plan->digest;
    const bool patch = step->stage == STEP_PATCH, body = step->stage != STEP_CLOSE;
    char query[256] = "", framing[64] = "Transfer-Encoding: chunked";
    int size;

    if (!patch)
        snprintf(query, sizeof(query), "%cdigest=%.*s", strchr(step->location, '?') ? '&' : '?',
                 (int)digest.size, plan_bytes(plan, digest));
    if (!patch || step->plan->framing != PLAN_CHUNKED)
        snprintf(framing, sizeof(framing), "Content-Length: %" PRIu64,
                 body ? step->plan->size : 0);
    size = snprintf(step->head, sizeof(step->head),
                    "%s %s%s HTTP/1.1\r\nHost: %.*s\r\n%s%s\r\n\r\n",
                    patch ? "PATCH" : "PUT", step->location, query, (int)host.size,
                    plan_bytes(plan, host),
                    body ? "Content-Type: application/octet-stream\r\n" : "", framing);
    return (size_t)size < sizeof(step->head) ? (size_t)size : 0;
}

/* Begins a request to the location of the upload. */
static bool begin_located(struct step *step, const struct plan *plan, struct exchange *exchange)
{
    const struct plan_step *blob = step->plan;
    const uint64_t chunk_size =
        step->stage == STEP_PATCH && blob->framing == PLAN_CHUNKED ? blob->chunk_size : 0;
    const struct question question = {.head = step->head,
                                      .head_size = write_head(step, plan),
                                      .has_body = step->stage != STEP_CLOSE &&
                                                  (chunk_size > 0 || blob->size > 0)};

    if (question.head_size == 0) {
        exchange->failure = "location too long";
        return false;
    }
    if (question.has_body &&
        body_open(&exchange->body, plan_bytes(plan, blob->file), blob->offset, blob->size,
                  chunk_size)) {
        exchange->failure = strerror(errno);
        return false;
    }
    exchange_begin(exchange, question);
    return true;
}

/* Begins a request whose head is in the plan. */
static void begin_planned(struct step *step, const struct plan *plan, struct exchange *exchange,
                          bool verify)
{
    const struct plan_step *request = step->plan;
    const bool probe = step->stage == STEP_PROBE, push = request->kind == PLAN_PUSH;
    const struct plan_span head = probe ? request->probe : request->head;
    struct question question = {.head = plan_bytes(plan, head),
                                .head_size = head.size,
                                .body_size = request->body_size,
                                .bodiless = probe || request->flags & PLAN_BODILESS};

    if (verify && !push && request->digest.size > 0)
        question.digest = plan_bytes(plan, request->digest);
    exchange_begin(exchange, question);
}

void step_begin(struct step *step, const struct plan *plan, const struct plan_step *plan_step,
                struct exchange *exchange, bool verify)
{
    step->plan = plan_step;
    if (plan_step->kind == PLAN_REQUEST)
        step->stage = STEP_REQUEST;
    else
        step->stage = plan_step->probe.size > 0 ? STEP_PROBE : STEP_START;
    begin_planned(step, plan, exchange, verify);
}

enum step_stage step_continue(struct step *step, const struct plan *plan,
                              struct exchange *exchange)
{
    const int status = exchange->answer.status;

    if (exchange->mismatch) {
        exchange->failure = "the body has another digest";
        return STEP_REFUSED;
    }
    step->stage = stage_after(step->plan, step->stage, status);
    if (step->stage == STEP_START) {
        begin_planned(step, plan, exchange, false);
    } else if (step->stage != STEP_DONE && step->stage != STEP_REFUSED) {
        if (!step_locate(step, &exchange->answer) && step->stage != STEP_CLOSE) {
            exchange->failure = "no usable location of the upload";
            return STEP_REFUSED;
        }
        if (!begin_located(step, plan, exchange))
            return STEP_REFUSED;
    }
    return step->stage;
}
