/* One request and its response on a transport.
 *
 * The kernel drops the bytes of a response's body unless they are hashed. An answer that arrives
 * before the request is sent ends the request, and then the connection.
 */
#ifndef LOAD_EXCHANGE_H
#define LOAD_EXCHANGE_H

#include "answer.h"
#include "body.h"
#include "chunked.h"
#include "sha256.h"

/* A head must fit into it. Small bodies arrive in the same read. */
#define EXCHANGE_INPUT_SIZE 16384

enum exchange_phase {
    EXCHANGE_HEAD_OUT,
    EXCHANGE_BODY_OUT,
    EXCHANGE_HEAD_IN,
    EXCHANGE_BODY_IN,
    EXCHANGE_DONE,
};
enum exchange_outcome { EXCHANGE_BLOCKED = 0, EXCHANGE_FINISHED = 1, EXCHANGE_FAILED = -1 };

/* The request to send, and the way to read its answer. */
struct question {
    const char *head; /* including a small body */
    size_t head_size, body_size;
    bool has_body;      /* a body from a file follows: the exchange's `body` */
    bool bodiless;      /* the answer has no body: HEAD */
    bool head_only;     /* the exchange ends with the answer's head */
    const char *digest; /* of the body of a 200 answer, or NULL */
};

struct exchange {
    struct question question;
    enum exchange_phase phase;
    size_t head_sent;
    struct body body;

    struct answer answer;
    bool keep_alive, verifying;
    uint64_t left; /* bytes of the answer's body, if it has a length or ends with the connection */
    dtr_chunked decoder;
    dtr_sha256 hash;
    uint64_t bytes_in, bytes_out; /* of bodies */
    const char *failure;          /* the reason why it cannot continue, or NULL */
    bool verified, mismatch;      /* the body's digest was compared; it was wrong */

    const char *excerpt; /* the part of the answer's body that arrived with its head */
    size_t excerpt_size;
    size_t input_size;
    char input[EXCHANGE_INPUT_SIZE];
};

/* Resets the exchange. If a body follows, the caller has opened it. */
void exchange_begin(struct exchange *exchange, struct question question);
/* Returns an exchange_outcome. Unless it is blocked, the body of the request is closed. */
int exchange_advance(struct exchange *exchange, struct transport *transport);

#endif
