/* Maps a plan and checks all positions in it once, so that a run need not check them. */
#include "plan.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static bool span_fits(const struct plan *plan, struct plan_span span)
{
    return span.offset <= plan->header->heap_size &&
           span.size <= plan->header->heap_size - span.offset;
}

static bool step_fits(const struct plan *plan, const struct plan_step *step)
{
    return step->label < plan->header->step_label_count && step->kind <= PLAN_PUSH &&
           step->framing <= PLAN_SINGLE && step->expect_count <= PLAN_EXPECT_COUNT_MAX &&
           step->body_size <= step->head.size && span_fits(plan, step->head) &&
           span_fits(plan, step->probe) && span_fits(plan, step->digest) &&
           span_fits(plan, step->file) && (step->kind == PLAN_REQUEST || step->chunk_size > 0);
}

static bool job_fits(const struct plan *plan, const struct plan_job *job)
{
    return job->label < plan->header->job_label_count &&
           job->step_first <= plan->header->step_count && job->step_count > 0 &&
           job->step_count <= plan->header->step_count - job->step_first;
}

static bool plan_fits(const struct plan *plan)
{
    const struct plan_header *header = plan->header;
    const uint32_t label_count = header->step_label_count + header->job_label_count;

    if (!span_fits(plan, header->host))
        return false;
    for (uint32_t i = 0; i < label_count; i++)
        if (!span_fits(plan, plan->step_labels[i]))
            return false;
    for (uint32_t i = 0; i < header->step_count; i++)
        if (!step_fits(plan, &plan->steps[i]))
            return false;
    for (uint32_t i = 0; i < header->job_count; i++)
        if (!job_fits(plan, &plan->jobs[i]))
            return false;
    return true;
}

int plan_open(struct plan *plan, int fd)
{
    const struct plan_header *header;
    uint64_t label_count;
    struct stat status;
    uint64_t size = sizeof(*header);

    if (fstat(fd, &status) || (uint64_t)status.st_size < size)
        return -1;
    header = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (header == MAP_FAILED || memcmp(header->magic, "dtrload\1", sizeof(header->magic)))
        return -1;
    plan->header = header;
    plan->step_labels = (const struct plan_span *)(header + 1);
    plan->job_labels = plan->step_labels + header->step_label_count;
    plan->steps = (const struct plan_step *)(plan->job_labels + header->job_label_count);
    plan->jobs = (const struct plan_job *)(plan->steps + header->step_count);
    plan->heap = (const char *)(plan->jobs + header->job_count);
    label_count = (uint64_t)header->step_label_count + header->job_label_count;
    size += label_count * sizeof(struct plan_span);
    size += (uint64_t)header->step_count * sizeof(struct plan_step);
    size += (uint64_t)header->job_count * sizeof(struct plan_job) + header->heap_size;
    return size == (uint64_t)status.st_size && plan_fits(plan) ? 0 : -1;
}
