/* Decoder of the chunked transfer coding (RFC 9112 section 7.1), strict, resumable at any octet.
 *
 * No chunk extensions, no white space around sizes, CR LF only. Trailer fields must be well formed
 * and are dropped; all of them together may have DTR_CHUNKED_TRAILER_SIZE_MAX octets.
 */
#ifndef DTR_CHUNKED_H
#define DTR_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

/* Octets of all trailer field lines with their line ends; nothing here reads any of them. */
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

/* All zero is the start. */
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

/* Decodes until the input is used up, the body has ended, or there is data and no room for it.
 * An error is final: every later call returns it. Output may be the memory of the input. */
int dtr_chunked_decode(dtr_chunked *decoder, dtr_chunked_input *input, dtr_chunked_output *output);

#endif
