/* One request and its response on a transport.
 *
 * The bytes of a response's body are dropped by the kernel unless they are to be hashed. An answer
 * that comes before the request is sent ends the request, and the connection after it.
 */
#ifndef LOAD_EXCHANGE_H
#define LOAD_EXCHANGE_H

#include "answer.h"
#include "body.h"
#include "chunked.h"
#include "sha256.h"

/* A head must fit; small bodies come with it in one read. */
#define EXCHANGE_INPUT_SIZE 16384

enum exchange_phase {
    EXCHANGE_HEAD_OUT,
    EXCHANGE_BODY_OUT,
    EXCHANGE_HEAD_IN,
    EXCHANGE_BODY_IN,
    EXCHANGE_DONE,
};
enum exchange_outcome { EXCHANGE_BLOCKED = 0, EXCHANGE_FINISHED = 1, EXCHANGE_FAILED = -1 };

/* What is sent, and how its answer is read. */
struct question {
    const char *head; /* with the body, if that is small */
    size_t head_size, body_size;
    bool has_body;      /* one from a file follows, which the exchange's `body` holds */
    bool bodiless;      /* the answer has no body: HEAD */
    bool head_only;     /* the exchange is done when the answer's head is there */
    const char *digest; /* of the body of a 200 answer, or NULL */
};

struct exchange {
    struct question question;
    enum exchange_phase phase;
    size_t head_sent;
    struct body body;

    struct answer answer;
    bool keep_alive, verifying;
    uint64_t left; /* of the answer's body, if it has a length or ends with the connection */
    dtr_chunked decoder;
    dtr_sha256 hash;
    uint64_t bytes_in, bytes_out; /* of bodies */
    const char *failure;          /* why it cannot go on, or NULL */
    bool verified, mismatch;      /* the digest of the body was compared; it was not the one */

    const char *excerpt; /* what of the answer's body came with its head */
    size_t excerpt_size;
    size_t input_size;
    char input[EXCHANGE_INPUT_SIZE];
};

/* Forgets what was before. If a body follows, it was opened before. */
void exchange_begin(struct exchange *exchange, struct question question);
/* Returns an exchange_outcome; a body of the request is closed when that is not blocked. */
int exchange_advance(struct exchange *exchange, struct transport *transport);

#endif
