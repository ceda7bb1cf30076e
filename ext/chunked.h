/* A strict decoder of the chunked transfer coding (RFC 9112 section 7.1) that can stop and resume
 * at any octet.
 *
 * It refuses chunk extensions, white space around sizes, and line ends other than CR LF. Trailer
 * fields must be well formed and are dropped. All trailer fields together may have at most
 * DTR_CHUNKED_TRAILER_SIZE_MAX octets.
 */
#ifndef DTR_CHUNKED_H
#define DTR_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

/* Octets of all trailer field lines, line ends included. The fields are parsed and then ignored. */
#define DTR_CHUNKED_TRAILER_SIZE_MAX 8192
/* A size has 1 to 16 digits; its value is below 2^63. */
#define DTR_CHUNKED_DIGIT_COUNT_MAX 16

enum dtr_chunked_state {
    DTR_CHUNKED_SIZE = 0,
    DTR_CHUNKED_SIZE_LF = 1,
    DTR_CHUNKED_DATA = 2,
    DTR_CHUNKED_DATA_CR = 3,
    DTR_CHUNKED_DATA_LF = 4,
    DTR_CHUNKED_TRAILER_START = 5,
    DTR_CHUNKED_TRAILER_NAME = 6,
    DTR_CHUNKED_TRAILER_VALUE = 7,
    DTR_CHUNKED_TRAILER_LF = 8,
    DTR_CHUNKED_END_LF = 9,
    DTR_CHUNKED_FINISHED = 10,
};

enum dtr_chunked_status {
    DTR_CHUNKED_OK = 0,
    DTR_CHUNKED_BAD_SIZE = -1,
    DTR_CHUNKED_EXTENSION = -2,
    DTR_CHUNKED_BAD_LINE_END = -3,
    DTR_CHUNKED_BAD_TRAILER = -4,
    DTR_CHUNKED_TRAILER_TOO_LARGE = -5,
};

/* The initial state is all zero. */
typedef struct {
    int state, status;
    unsigned digit_count;
    uint64_t chunk_left; /* octets of this chunk's data still to come */
    size_t trailer_size;
} dtr_chunked;

typedef struct {
    const uint8_t *data;
    size_t size, consumed;
} dtr_chunked_input;

typedef struct {
    uint8_t *data;
    size_t size, produced;
} dtr_chunked_output;

/* Decodes until the input is used up, the body has ended, or the output is full and chunk data
 * follows. An error is final: every later call returns it. Output and input may be the same
 * memory. */
int dtr_chunked_decode(dtr_chunked *decoder, dtr_chunked_input *input, dtr_chunked_output *output);

#endif
