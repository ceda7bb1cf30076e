/* Connections that are kept open: idle, uploading a byte a second, or not reading. */
#include "options.h"
#include "report.h"
#include "step.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#define EVENT_COUNT_MAX 256
/* The number of connections that are opened at a time: no server's backlog is shorter. */
#define OPENING_COUNT_MAX 100
/* The announced size of a slow upload. Chosen: it never ends, and no registry refuses it. */
#define UPLOAD_SIZE (1ull << 30)
/* The smallest buffer that the kernel allows, so that the window closes soon. */
#define STALLED_RECEIVE_SIZE 1
#define SECOND 1000000000ull

enum held_state {
    HELD_UNOPENED,
    HELD_OPENING, /* waits for an answer, an upload, or the head of an answer */
    HELD_OPEN,
    HELD_LOST,
};

struct held {
    struct transport transport;
    struct exchange exchange;
    struct step step; /* the location of its upload */
    enum held_state state;
    bool asked, uploading;
};

struct hold {
    const struct options *options;
    struct held *helds;
    int poll;
    bool told, released;
    uint32_t begun, opening, open, opened;
    uint64_t bytes_in, bytes_out;
    uint64_t drip_began_at, drip_count; /* bytes of slow uploads due since then */
    char prefix[32];                    /* the path of a file with the first bytes of an upload */
    size_t head_size;
    char head[2048];
    struct messages messages;
};

static void take_bytes(struct hold *hold, struct held *held)
{
    hold->bytes_in += held->exchange.bytes_in;
    hold->bytes_out += held->exchange.bytes_out;
    held->exchange.bytes_in = held->exchange.bytes_out = 0;
}

static void held_lost(struct hold *hold, struct held *held, const char *why)
{
    message_add(&hold->messages, "%s", why);
    hold->opening -= held->state == HELD_OPENING;
    hold->open -= held->state == HELD_OPEN;
    held->state = HELD_LOST;
    take_bytes(hold, held);
    body_close(&held->exchange.body);
    transport_close(&held->transport);
}

static void held_opened(struct hold *hold, struct held *held)
{
    take_bytes(hold, held);
    hold->opening--;
    hold->open++;
    held->state = HELD_OPEN;
    held->transport.deaf = hold->options->kind == HOLD_STALLED_PULL;
}

static void held_ask(struct hold *hold, struct held *held)
{
    const struct question question = {.head = hold->head,
                                      .head_size = hold->head_size,
                                      .head_only = hold->options->kind == HOLD_STALLED_PULL};

    exchange_begin(&held->exchange, question);
    held->asked = true;
}

/* The prefix of the upload's body is sent at once. The rest is sent byte by byte, or never. */
static void held_upload(struct hold *hold, struct held *held)
{
    char *head = held->step.head;
    const int size = snprintf(head, sizeof(held->step.head),
                              "PATCH %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %llu\r\n"
                              "Content-Type: application/octet-stream\r\n\r\n",
                              held->step.location, hold->options->host, UPLOAD_SIZE);
    const struct question question = {
        .head = head, .head_size = (size_t)size, .has_body = hold->options->prefix_size > 0};

    if (question.has_body &&
        body_open(&held->exchange.body, hold->prefix, 0, hold->options->prefix_size, 0)) {
        held_lost(hold, held, strerror(errno));
        return;
    }
    exchange_begin(&held->exchange, question);
    held->uploading = true;
}

static void held_answered(struct hold *hold, struct held *held)
{
    const struct exchange *exchange = &held->exchange;
    const bool upload = hold->options->kind == HOLD_SLOW_UPLOAD;
    const int status = exchange->answer.status;
    char why[64];

    take_bytes(hold, held);
    if (upload && !held->uploading && status == 202 &&
        step_locate(&held->step, &exchange->answer)) {
        held_upload(hold, held);
    } else if (!upload && status < 300 && (exchange->keep_alive || exchange->question.head_only)) {
        held_opened(hold, held);
    } else {
        snprintf(why, sizeof(why), "status %d, or an answer that cannot be held", status);
        held_lost(hold, held, why);
    }
}

/* An open connection expects no input: any input ends it. */
static void held_check(struct hold *hold, struct held *held)
{
    char data[64];
    ssize_t count = TRANSPORT_LOST;

    if (!held->transport.readable)
        return;
    if (!held->transport.deaf)
        count = transport_receive(&held->transport, data, sizeof(data));
    if (count > 0)
        held_lost(hold, held, "answered while it was held");
    else if (count != TRANSPORT_BLOCKED)
        held_lost(hold, held, "connection lost while it was held");
}

static void held_open(struct hold *hold, struct held *held)
{
    const ssize_t ready = transport_establish(&held->transport, &hold->options->server);
    int outcome = EXCHANGE_FINISHED;

    if (ready == TRANSPORT_LOST)
        held_lost(hold, held, strerror(errno));
    if (ready != 1)
        return;
    if (!held->asked)
        held_ask(hold, held);
    while (outcome == EXCHANGE_FINISHED && held->state == HELD_OPENING) {
        outcome = exchange_advance(&held->exchange, &held->transport);
        if (outcome == EXCHANGE_FINISHED)
            held_answered(hold, held);
        else if (outcome == EXCHANGE_FAILED)
            held_lost(hold, held, held->exchange.failure);
        else if (held->uploading && held->exchange.phase == EXCHANGE_HEAD_IN)
            held_opened(hold, held);
    }
}

static void held_advance(struct hold *hold, struct held *held)
{
    if (held->state == HELD_OPENING)
        held_open(hold, held);
    else if (held->state == HELD_OPEN)
        held_check(hold, held);
    transport_watch(&held->transport, hold->poll, held);
}

static void open_more(struct hold *hold)
{
    while (hold->opening < OPENING_COUNT_MAX && hold->begun < hold->options->connections) {
        struct held *held = &hold->helds[hold->begun++];

        held->exchange.body.file = -1;
        held->state = HELD_OPENING;
        hold->opening++;
        if (transport_open(&held->transport, &hold->options->server))
            held_lost(hold, held, strerror(errno));
        transport_watch(&held->transport, hold->poll, held);
    }
}

/* Each connection sends at its own moment of each second. Returns the milliseconds to the next. */
static int drip(struct hold *hold)
{
    const uint64_t passed = clock_now() - hold->drip_began_at;
    const uint64_t interval = SECOND / hold->begun;

    while (hold->drip_count * interval <= passed) {
        struct held *held = &hold->helds[hold->drip_count++ % hold->begun];
        ssize_t count;

        if (held->state != HELD_OPEN)
            continue;
        count = transport_send(&held->transport, "", 1, false);
        if (count > 0)
            hold->bytes_out++;
        else if (count != TRANSPORT_BLOCKED)
            held_lost(hold, held, "connection lost while it was held");
    }
    return (int)((hold->drip_count * interval - passed) / 1000000) + 1;
}

/* Prints the fields of load.py's HoldResult. */
static void tell(const struct hold *hold)
{
    printf("{\"opened\":%u,\"lost\":%u,\"bytes_in\":%" PRIu64 ",\"bytes_out\":%" PRIu64
           ",\"errors\":",
           hold->opened, hold->opened - hold->open, hold->bytes_in, hold->bytes_out);
    json_messages(&hold->messages);
    puts("}");
    fflush(stdout);
}

static void nothing_moves(struct hold *hold)
{
    for (uint32_t i = 0; i < hold->begun; i++)
        if (hold->helds[i].state == HELD_OPENING)
            held_lost(hold, &hold->helds[i], "timeout");
}

static bool input_ended(void)
{
    char data[64];

    return read(STDIN_FILENO, data, sizeof(data)) <= 0;
}

static void turn(struct hold *hold, int milliseconds)
{
    struct epoll_event events[EVENT_COUNT_MAX];
    const int count = epoll_wait(hold->poll, events, EVENT_COUNT_MAX, milliseconds);

    if (count == 0 && !hold->told)
        nothing_moves(hold);
    for (int i = 0; i < count; i++) {
        struct held *held = events[i].data.ptr;

        if (held) {
            transport_wake(&held->transport, events[i].events);
            held_advance(hold, held);
        } else {
            hold->released = input_ended();
        }
    }
}

static void hold_loop(struct hold *hold)
{
    int milliseconds;

    while (!hold->released) {
        open_more(hold);
        if (!hold->told && hold->opening == 0) {
            hold->told = true;
            hold->opened = hold->open;
            hold->drip_began_at = clock_now();
            tell(hold);
        }
        milliseconds = hold->told ? -1 : (int)(hold->options->timeout / 1000000);
        if (hold->told && hold->options->kind == HOLD_SLOW_UPLOAD)
            milliseconds = drip(hold);
        turn(hold, milliseconds);
    }
    tell(hold);
}

static int make_prefix(struct hold *hold)
{
    const int file = memfd_create("prefix", MFD_CLOEXEC);

    snprintf(hold->prefix, sizeof(hold->prefix), "/proc/self/fd/%d", file);
    return file < 0 ? -1 : ftruncate(file, (off_t)hold->options->prefix_size);
}

static int make_head(struct hold *hold)
{
    const struct options *options = hold->options;
    const bool upload = options->kind == HOLD_SLOW_UPLOAD;
    const int size = snprintf(hold->head, sizeof(hold->head),
                              "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n",
                              upload ? "POST" : "GET", options->path, options->host,
                              upload ? "Content-Length: 0\r\n" : "");

    hold->head_size = (size_t)size;
    errno = ENAMETOOLONG;
    return hold->head_size < sizeof(hold->head) ? 0 : -1;
}

int hold_connections(const struct options *options)
{
    static struct hold hold;
    static struct options stalled;
    struct epoll_event input = {.events = EPOLLIN};

    stalled = *options;
    if (options->kind == HOLD_STALLED_PULL)
        stalled.server.receive_size = STALLED_RECEIVE_SIZE;
    hold.options = &stalled;
    hold.helds = calloc(options->connections, sizeof(*hold.helds));
    hold.poll = epoll_create1(EPOLL_CLOEXEC);
    if (!hold.helds || hold.poll < 0 || make_prefix(&hold) || make_head(&hold) ||
        epoll_ctl(hold.poll, EPOLL_CTL_ADD, STDIN_FILENO, &input)) {
        fprintf(stderr, "load: %s\n", strerror(errno));
        return 1;
    }
    hold_loop(&hold);
    return 0;
}
