/* A run: connections take jobs from the plan until none is left or the time is over. */
#include "options.h"
#include "plan.h"
#include "report.h"
#include "step.h"
#include "tls.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Events of one epoll_wait. Chosen: more than the connections of most runs. */
#define EVENT_COUNT_MAX 256
/* The interval of the search for silent connections; less if the timeout is shorter. */
#define SWEEP_INTERVAL_MAX 1000000000ull
/* The part of an unexpected answer's body that goes into its message. */
#define EXCERPT_SIZE_MAX 160

struct connection {
    struct transport transport;
    struct exchange exchange;
    struct step step;
    const struct plan_job *job; /* NULL: between jobs */
    uint32_t step_index;
    bool opened; /* it was ready before the clock started */
    uint64_t moved_at, job_began_at, step_began_at;
    uint64_t step_in, step_out, job_in, job_out; /* bytes so far, without the current exchange */
};

struct run {
    const struct options *options;
    struct plan plan;
    struct connection *connections;
    int poll;
    uint32_t alive, opening; /* connections not given up; connections that the start waits for */
    uint32_t job_next;
    uint64_t turn_at, swept_at, sweep_interval, began_at, ended_at, deadline, cpu_began_at;
    uint64_t connects, verified;
    struct measure total, *steps, *jobs;
    struct messages messages;
    char cipher[64];
};

static void connection_advance(struct run *run, struct connection *connection);

static const struct plan_step *step_of(const struct run *run, const struct connection *connection)
{
    return &run->plan.steps[connection->job->step_first + connection->step_index];
}

static const struct plan_job *take_job(struct run *run)
{
    const uint32_t count = run->plan.header->job_count;

    if (run->deadline && run->turn_at >= run->deadline)
        return NULL;
    if (run->job_next == count && run->options->repeat)
        run->job_next = 0;
    return run->job_next < count ? &run->plan.jobs[run->job_next++] : NULL;
}

static void connection_give_up(struct run *run, struct connection *connection)
{
    transport_close(&connection->transport);
    run->alive--;
}

static void begin_step(struct run *run, struct connection *connection, uint64_t now)
{
    connection->step_began_at = now;
    connection->step_in = connection->step_out = 0;
    step_begin(&connection->step, &run->plan, step_of(run, connection), &connection->exchange,
               run->options->verify);
}

/* Returns false if no job is left. */
static bool begin_job(struct run *run, struct connection *connection, uint64_t now)
{
    connection->job = take_job(run);
    if (!connection->job)
        return false;
    connection->step_index = 0;
    connection->job_began_at = now;
    connection->job_in = connection->job_out = 0;
    begin_step(run, connection, now);
    return true;
}

static void measure_took(struct measure *measure, bool good, uint64_t nanoseconds)
{
    if (good)
        histogram_add(&measure->latency, nanoseconds);
    else
        measure->errors++;
}

static void measure_moved(struct measure *measure, uint64_t bytes_in, uint64_t bytes_out)
{
    measure->bytes_in += bytes_in;
    measure->bytes_out += bytes_out;
}

static void end_job(struct run *run, struct connection *connection, bool good, uint64_t now)
{
    struct measure *job = &run->jobs[connection->job->label];

    measure_took(job, good, now - connection->job_began_at);
    measure_moved(job, connection->job_in, connection->job_out);
    connection->job = NULL;
}

static void end_step(struct run *run, struct connection *connection, bool good, uint64_t now)
{
    struct measure *step = &run->steps[step_of(run, connection)->label];
    const uint64_t took = now - connection->step_began_at;

    measure_took(step, good, took);
    measure_moved(step, connection->step_in, connection->step_out);
    measure_took(&run->total, good, took);
    measure_moved(&run->total, connection->step_in, connection->step_out);
    connection->job_in += connection->step_in;
    connection->job_out += connection->step_out;
    run->ended_at = now;
    if (good && ++connection->step_index < connection->job->step_count)
        begin_step(run, connection, now);
    else
        end_job(run, connection, good, now);
}

static void connection_refused(struct run *run, struct connection *connection)
{
    message_add(&run->messages, "cannot connect: %s", strerror(errno));
    body_close(&connection->exchange.body);
    if (connection->job)
        end_step(run, connection, false, clock_now());
    else
        run->total.errors++;
    run->opening -= !connection->opened;
    connection->opened = true;
    connection_give_up(run, connection);
}

static void connection_open(struct run *run, struct connection *connection)
{
    transport_close(&connection->transport);
    if (transport_open(&connection->transport, &run->options->server))
        connection_refused(run, connection);
    else
        run->connects++;
}

static void take_bytes(struct connection *connection)
{
    connection->step_in += connection->exchange.bytes_in;
    connection->step_out += connection->exchange.bytes_out;
}

/* Keeps the message `LABEL: METHOD PATH: REASON`. */
static void complain(struct run *run, const struct connection *connection, const char *why)
{
    const struct plan_span label = run->plan.step_labels[step_of(run, connection)->label];
    const struct question *question = &connection->exchange.question;
    const char *end = memmem(question->head, question->head_size, " HTTP/1.1", 9);

    message_add(&run->messages, "%.*s: %.*s: %s", (int)label.size, plan_bytes(&run->plan, label),
                end ? (int)(end - question->head) : 0, question->head, why);
}

static void complain_status(struct run *run, const struct connection *connection)
{
    const struct exchange *exchange = &connection->exchange;
    const size_t size = exchange->excerpt_size < EXCERPT_SIZE_MAX ? exchange->excerpt_size
                                                                  : EXCERPT_SIZE_MAX;
    char why[EXCERPT_SIZE_MAX + 32];

    snprintf(why, sizeof(why), "status %d %.*s", exchange->answer.status, (int)size,
             exchange->excerpt);
    complain(run, connection, why);
}

static void connection_failed(struct run *run, struct connection *connection, const char *why)
{
    complain(run, connection, why);
    take_bytes(connection);
    body_close(&connection->exchange.body);
    end_step(run, connection, false, clock_now());
    connection_open(run, connection);
}

/* An answer is complete: continues the step, or begins the next one. */
static void connection_answered(struct run *run, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    const bool keep_alive = exchange->keep_alive;
    enum step_stage stage;

    take_bytes(connection);
    run->verified += exchange->verified;
    stage = step_continue(&connection->step, &run->plan, exchange);
    if (stage == STEP_REFUSED) {
        if (exchange->failure)
            complain(run, connection, exchange->failure);
        else
            complain_status(run, connection);
    }
    if (stage == STEP_DONE || stage == STEP_REFUSED)
        end_step(run, connection, stage == STEP_DONE, clock_now());
    if (!keep_alive)
        connection_open(run, connection);
}

/* Starts the clock: all connections are open or given up. */
static void run_begin(struct run *run)
{
    run->cpu_began_at = clock_cpu();
    run->began_at = run->turn_at = run->ended_at = clock_now();
    if (run->options->duration)
        run->deadline = run->began_at + run->options->duration;
    for (uint32_t i = 0; i < run->options->connections; i++)
        if (run->connections[i].transport.state == TRANSPORT_READY)
            connection_advance(run, &run->connections[i]);
}

/* Returns true if the transport is ready for use. */
static bool connection_ready(struct run *run, struct connection *connection)
{
    struct transport *transport = &connection->transport;
    ssize_t outcome;

    if (transport->state == TRANSPORT_READY)
        return run->began_at > 0;
    outcome = transport_establish(transport, &run->options->server);
    if (outcome == TRANSPORT_LOST)
        connection_refused(run, connection);
    if (outcome != 1)
        return false;
    if (transport->tls && !run->cipher[0])
        tls_cipher(transport->tls, run->cipher, sizeof(run->cipher));
    run->opening -= !connection->opened;
    connection->opened = true;
    return run->began_at > 0;
}

static void connection_advance(struct run *run, struct connection *connection)
{
    while (connection_ready(run, connection)) {
        int outcome;

        if (!connection->job && !begin_job(run, connection, clock_now())) {
            connection_give_up(run, connection);
            return;
        }
        outcome = exchange_advance(&connection->exchange, &connection->transport);
        if (outcome == EXCHANGE_BLOCKED)
            break;
        if (outcome == EXCHANGE_FINISHED)
            connection_answered(run, connection);
        else
            connection_failed(run, connection, connection->exchange.failure);
    }
    transport_watch(&connection->transport, run->poll, connection);
}

/* Ends connections on which no byte moved for too long. */
static void sweep(struct run *run)
{
    run->swept_at = run->turn_at;
    for (uint32_t i = 0; i < run->options->connections; i++) {
        struct connection *connection = &run->connections[i];

        if (connection->transport.fd < 0 ||
            run->turn_at - connection->moved_at < run->options->timeout)
            continue;
        errno = ETIMEDOUT;
        if (connection->transport.state != TRANSPORT_READY)
            connection_refused(run, connection);
        else if (connection->job)
            connection_failed(run, connection, "timeout");
        connection->moved_at = run->turn_at;
        transport_watch(&connection->transport, run->poll, connection);
    }
}

static void turn(struct run *run)
{
    struct epoll_event events[EVENT_COUNT_MAX];
    const int milliseconds = (int)(run->sweep_interval / 1000000) + 1;
    const int count = epoll_wait(run->poll, events, EVENT_COUNT_MAX, milliseconds);

    run->turn_at = clock_now();
    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;

        connection->moved_at = run->turn_at;
        transport_wake(&connection->transport, events[i].events);
        connection_advance(run, connection);
    }
}

static void run_loop(struct run *run)
{
    run->turn_at = run->swept_at = clock_now();
    for (uint32_t i = 0; i < run->options->connections; i++) {
        struct connection *connection = &run->connections[i];

        connection->transport.fd = connection->exchange.body.file = -1;
        connection->moved_at = run->turn_at;
        connection_open(run, connection);
        transport_watch(&connection->transport, run->poll, connection);
    }
    while (run->alive > 0) {
        if (run->opening == 0 && !run->began_at)
            run_begin(run);
        else
            turn(run);
        if (run->turn_at - run->swept_at >= run->sweep_interval)
            sweep(run);
    }
}

static void print_measures(const struct run *run, const char *name, const struct plan_span *labels,
                           const struct measure *measures, uint32_t count)
{
    printf(",\"%s\":{", name);
    for (uint32_t i = 0; i < count; i++) {
        fputs(i ? "," : "", stdout);
        json_string(plan_bytes(&run->plan, labels[i]), labels[i].size);
        putchar(':');
        json_measure(&measures[i]);
    }
    putchar('}');
}

static void print_result(const struct run *run)
{
    const struct plan_header *header = run->plan.header;

    printf("{\"seconds\":%.9f,\"cpu_seconds\":%.6f,\"connects\":%" PRIu64 ",\"verified\":%" PRIu64
           ",\"cipher\":\"%s\",\"errors\":",
           (double)(run->ended_at - run->began_at) / 1e9,
           (double)(clock_cpu() - run->cpu_began_at) / 1e9, run->connects, run->verified,
           run->cipher);
    json_messages(&run->messages);
    fputs(",\"total\":", stdout);
    json_measure(&run->total);
    print_measures(run, "steps", run->plan.step_labels, run->steps, header->step_label_count);
    print_measures(run, "jobs", run->plan.job_labels, run->jobs, header->job_label_count);
    puts("}");
}

int run_plan(const struct options *options)
{
    static struct run run;

    run.options = options;
    run.alive = run.opening = options->connections;
    run.sweep_interval =
        options->timeout < SWEEP_INTERVAL_MAX ? options->timeout : SWEEP_INTERVAL_MAX;
    run.poll = epoll_create1(EPOLL_CLOEXEC);
    if (plan_open(&run.plan, STDIN_FILENO)) {
        fputs("load: standard input is no plan\n", stderr);
        return 1;
    }
    run.connections = calloc(options->connections, sizeof(*run.connections));
    run.steps = calloc(run.plan.header->step_label_count + 1, sizeof(*run.steps));
    run.jobs = calloc(run.plan.header->job_label_count + 1, sizeof(*run.jobs));
    if (run.poll < 0 || !run.connections || !run.steps || !run.jobs) {
        fprintf(stderr, "load: %s\n", strerror(errno));
        return 1;
    }
    run_loop(&run);
    print_result(&run);
    return 0;
}
