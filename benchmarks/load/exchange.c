#include "exchange.h"

#include <errno.h>
#include <string.h>

/* The size of a read that is hashed. Chosen: it fits into the second-level cache of a CPU. */
#define VERIFY_SIZE 262144

static const char DIGEST_PREFIX[] = "sha256:";

static dtr_sha256_blocks *hash_kernel(void)
{
    static const int wanted[] = {DTR_SHA256_SHANI, DTR_SHA256_ARMV8, DTR_SHA256_PORTABLE};
    static dtr_sha256_blocks *kernel;

    for (size_t i = 0; !kernel; i++)
        kernel = dtr_sha256_kernel(wanted[i]);
    return kernel;
}

void exchange_begin(struct exchange *exchange, struct question question)
{
    const struct body body = exchange->body;

    memset(exchange, 0, offsetof(struct exchange, input));
    exchange->question = question;
    if (question.has_body)
        exchange->body = body;
    else
        exchange->body.file = -1;
}

static void fail(struct exchange *exchange, ssize_t outcome, const char *ended)
{
    exchange->failure = outcome == TRANSPORT_ENDED ? ended : strerror(errno);
}

static ssize_t send_head(struct exchange *exchange, struct transport *transport)
{
    const struct question *question = &exchange->question;
    ssize_t count = 1;

    while (count > 0 && exchange->head_sent < question->head_size) {
        count = transport_send(transport, question->head + exchange->head_sent,
                               question->head_size - exchange->head_sent, question->has_body);
        if (count > 0)
            exchange->head_sent += (size_t)count;
    }
    return count;
}

/* A server that refuses a request often answers before it closes: the answer is read. */
static void exchange_send(struct exchange *exchange, struct transport *transport)
{
    ssize_t outcome = 1;

    if (exchange->phase == EXCHANGE_HEAD_OUT) {
        outcome = send_head(exchange, transport);
        if (outcome > 0) {
            exchange->phase = EXCHANGE_BODY_OUT;
            exchange->bytes_out = exchange->question.body_size;
        }
    }
    if (exchange->phase == EXCHANGE_BODY_OUT) {
        if (exchange->question.has_body)
            outcome = body_send(&exchange->body, transport, &exchange->bytes_out);
        if (outcome > 0)
            exchange->phase = EXCHANGE_HEAD_IN;
    }
    if (outcome > 0 || outcome == TRANSPORT_BLOCKED)
        return;
    transport->readable = true;
    if (errno != EPIPE && errno != ECONNRESET)
        exchange->failure = strerror(errno);
}

static void exchange_finish(struct exchange *exchange)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[DTR_SHA256_DIGEST_SIZE];
    char name[sizeof(DIGEST_PREFIX) + 2 * sizeof(digest)];
    size_t size = sizeof(DIGEST_PREFIX) - 1;

    exchange->phase = EXCHANGE_DONE;
    if (!exchange->verifying)
        return;
    dtr_sha256_digest(&exchange->hash, hash_kernel(), digest);
    memcpy(name, DIGEST_PREFIX, size);
    for (size_t i = 0; i < sizeof(digest); i++) {
        name[size++] = digits[digest[i] >> 4];
        name[size++] = digits[digest[i] & 15];
    }
    exchange->verified = true;
    exchange->mismatch = memcmp(name, exchange->question.digest, size) != 0;
}

/* Takes bytes of the body after the framing is removed. */
static void take_data(struct exchange *exchange, const char *data, size_t size)
{
    exchange->bytes_in += size;
    if (exchange->verifying && data)
        dtr_sha256_update(&exchange->hash, hash_kernel(), (const uint8_t *)data, size);
}

static void take_chunked(struct exchange *exchange, char *data, size_t size)
{
    dtr_chunked_input input = {.data = (const uint8_t *)data, .size = size};
    dtr_chunked_output output = {.data = (uint8_t *)data, .size = size};

    if (dtr_chunked_decode(&exchange->decoder, &input, &output) != DTR_CHUNKED_OK)
        exchange->failure = "malformed chunked body";
    else if (input.consumed < size)
        exchange->failure = "more bytes than the body has";
    take_data(exchange, data, output.produced);
    if (exchange->decoder.state == DTR_CHUNKED_FINISHED)
        exchange_finish(exchange);
}

static void take_plain(struct exchange *exchange, const char *data, size_t size)
{
    if (size > exchange->left) {
        exchange->failure = "more bytes than the body has";
        return;
    }
    exchange->left -= size;
    take_data(exchange, data, size);
    if (exchange->left == 0)
        exchange_finish(exchange);
}

static bool ends_with_connection(const struct exchange *exchange)
{
    return !exchange->answer.chunked && exchange->answer.content_length < 0;
}

static bool answer_bodiless(const struct exchange *exchange)
{
    return exchange->question.bodiless || exchange->answer.status == 204 ||
           exchange->answer.status == 304;
}

/* The head is complete; the input may have the begin of the body after it. */
static void begin_body(struct exchange *exchange)
{
    const struct question *question = &exchange->question;
    const struct answer *answer = &exchange->answer;
    char *data = exchange->input + answer->size;
    const size_t size = exchange->input_size - answer->size;

    exchange->keep_alive = answer->keep_alive && exchange->phase == EXCHANGE_HEAD_IN;
    exchange->verifying = question->digest && answer->status == 200;
    exchange->phase = EXCHANGE_BODY_IN;
    if (exchange->verifying)
        dtr_sha256_init(&exchange->hash);
    if (answer_bodiless(exchange)) {
        exchange_finish(exchange);
    } else if (answer->chunked) {
        take_chunked(exchange, data, size);
    } else {
        exchange->left =
            ends_with_connection(exchange) ? UINT64_MAX : (uint64_t)answer->content_length;
        exchange->keep_alive &= !ends_with_connection(exchange);
        take_plain(exchange, data, size);
    }
    exchange->excerpt = data;
    exchange->excerpt_size = exchange->bytes_in;
    if (question->head_only)
        exchange->phase = EXCHANGE_DONE;
}

static void read_head(struct exchange *exchange, struct transport *transport)
{
    const ssize_t count = transport_receive(transport, exchange->input + exchange->input_size,
                                            sizeof(exchange->input) - exchange->input_size);
    int parsed;

    if (count == TRANSPORT_BLOCKED)
        return;
    if (count <= 0) {
        fail(exchange, count, "connection closed before the answer");
        return;
    }
    exchange->input_size += (size_t)count;
    parsed = answer_parse(&exchange->answer, exchange->input, exchange->input_size);
    while (parsed == ANSWER_COMPLETE && exchange->answer.status < 200) {
        exchange->input_size -= exchange->answer.size;
        memmove(exchange->input, exchange->input + exchange->answer.size, exchange->input_size);
        parsed = answer_parse(&exchange->answer, exchange->input, exchange->input_size);
    }
    if (parsed == ANSWER_COMPLETE)
        begin_body(exchange);
    else if (parsed == ANSWER_MALFORMED || exchange->input_size == sizeof(exchange->input))
        exchange->failure = "malformed answer";
}

/* Receives up to `size` bytes without framing. *data is NULL if they are not needed. */
static ssize_t read_data(struct exchange *exchange, struct transport *transport, uint64_t size,
                         const char **data)
{
    static char buffer[VERIFY_SIZE];

    *data = exchange->verifying ? buffer : NULL;
    if (!exchange->verifying)
        return transport_discard(transport, size);
    return transport_receive(transport, buffer, size < sizeof(buffer) ? size : sizeof(buffer));
}

/* Inside a chunk, reads data like that of a plain body; between chunks, any available bytes. */
static ssize_t read_chunked(struct exchange *exchange, struct transport *transport)
{
    static char buffer[EXCHANGE_INPUT_SIZE];
    dtr_chunked *decoder = &exchange->decoder;
    const char *data;
    ssize_t count;

    if (decoder->state != DTR_CHUNKED_DATA) {
        count = transport_receive(transport, buffer, sizeof(buffer));
        if (count > 0)
            take_chunked(exchange, buffer, (size_t)count);
        return count;
    }
    count = read_data(exchange, transport, decoder->chunk_left, &data);
    if (count > 0) {
        take_data(exchange, data, (size_t)count);
        decoder->chunk_left -= (uint64_t)count;
        if (decoder->chunk_left == 0)
            decoder->state = DTR_CHUNKED_DATA_CR;
    }
    return count;
}

static void read_body(struct exchange *exchange, struct transport *transport)
{
    const char *data;
    ssize_t count;

    if (exchange->answer.chunked) {
        count = read_chunked(exchange, transport);
    } else {
        count = read_data(exchange, transport, exchange->left, &data);
        if (count > 0)
            take_plain(exchange, data, (size_t)count);
    }
    if (count == TRANSPORT_ENDED && ends_with_connection(exchange))
        exchange_finish(exchange);
    else if (count <= 0 && count != TRANSPORT_BLOCKED)
        fail(exchange, count, "connection closed within the body");
}

static void exchange_receive(struct exchange *exchange, struct transport *transport)
{
    if (exchange->phase == EXCHANGE_BODY_IN)
        read_body(exchange, transport);
    else
        read_head(exchange, transport);
}

int exchange_advance(struct exchange *exchange, struct transport *transport)
{
    if (exchange->phase <= EXCHANGE_BODY_OUT && !transport->blocked)
        exchange_send(exchange, transport);
    while (transport->readable && exchange->phase != EXCHANGE_DONE && !exchange->failure)
        exchange_receive(exchange, transport);
    if (exchange->phase != EXCHANGE_DONE && !exchange->failure)
        return EXCHANGE_BLOCKED;
    body_close(&exchange->body);
    return exchange->failure ? EXCHANGE_FAILED : EXCHANGE_FINISHED;
}
