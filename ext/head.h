/* A strict parser of HTTP/1.1 request heads (RFC 9112) that also decides the framing of the body.
 *
 * It passes over the octets once and copies nothing: the result has positions in the buffer. An
 * octet that is invalid in its place is reported at once, an invalid value at the end of its line.
 * A prefix of a valid head is incomplete. A prefix with an error stays an error with more octets.
 * docs/kernels.md lists the decisions.
 */
#ifndef DTR_HEAD_H
#define DTR_HEAD_H

#include <stddef.h>
#include <stdint.h>

/* The most fields of one head. Usual clients send far fewer, and the array takes 4 KiB. */
#define DTR_HEAD_FIELD_COUNT_MAX 128

enum dtr_head_status {
    DTR_HEAD_COMPLETE = 0,
    DTR_HEAD_INCOMPLETE = 1,
    DTR_HEAD_BAD_METHOD = -1,
    DTR_HEAD_BAD_TARGET = -2,
    DTR_HEAD_BAD_VERSION = -3,
    DTR_HEAD_BAD_LINE_END = -4,
    DTR_HEAD_BAD_NAME = -5,
    DTR_HEAD_BAD_VALUE = -6,
    DTR_HEAD_FOLDED = -7,
    DTR_HEAD_TOO_MANY_FIELDS = -8,
    DTR_HEAD_BAD_LENGTH = -9,
    DTR_HEAD_REPEATED_LENGTH = -10,
    DTR_HEAD_BAD_CODING = -11,
    DTR_HEAD_REPEATED_CODING = -12,
    DTR_HEAD_LENGTH_AND_CODING = -13,
    DTR_HEAD_CODING_IN_1_0 = -14,
    DTR_HEAD_BAD_HOST = -15,
    DTR_HEAD_REPEATED_HOST = -16,
    DTR_HEAD_NO_HOST = -17,
    DTR_HEAD_BAD_EXPECT = -18,
};

/* A range of the buffer. */
typedef struct {
    size_t start, size;
} dtr_span;

typedef struct {
    dtr_span name, value;
} dtr_field;

typedef struct {
    size_t size; /* of the whole head, including its empty line */
    dtr_span method, target;
    int version_minor;
    int64_t content_length; /* -1 if there is none */
    int chunked, keep_alive, expect_continue;
    int forwarded; /* has a field in which proxies describe the client */
    size_t field_count;
    dtr_field fields[DTR_HEAD_FIELD_COUNT_MAX];
} dtr_head;

/* Returns a dtr_head_status. `*head` is valid only if the status is DTR_HEAD_COMPLETE. */
int dtr_head_parse(dtr_head *head, const uint8_t *data, size_t size);

/* Parses the field line at *position and moves *position after it. Used for trailers too. */
int dtr_field_parse(dtr_field *field, const uint8_t *data, size_t size, size_t *position);

void dtr_name_lower(uint8_t *into, const uint8_t *name, size_t size);

#endif
