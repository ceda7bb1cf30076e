/* The body of a request, on its way from a file to the server. */
#ifndef LOAD_BODY_H
#define LOAD_BODY_H

#include "transport.h"

/* CR LF, 16 hexadecimal digits, CR LF; or CR LF, the last chunk, an empty line. */
#define BODY_FRAME_SIZE_MAX 24

struct body {
    int file;
    off_t offset;
    uint64_t left;       /* of the file, not in a chunk yet */
    uint64_t chunk_size; /* 0: the body is sent with its length, as if it were one chunk */
    uint64_t chunk_left;
    char frame[BODY_FRAME_SIZE_MAX];
    size_t frame_size, frame_sent;
    bool last; /* the frame ends the body */
};

/* `chunk_size` 0 sends no framing. 0, or -1 with errno; a body that is open must be closed. */
int body_open(struct body *body, const char *path, uint64_t offset, uint64_t size,
              uint64_t chunk_size);
void body_close(struct body *body);
/* 1 when all is sent, TRANSPORT_BLOCKED or TRANSPORT_LOST; *sent grows by what was sent of the
 * file. It comes back blocked now and then, so that no connection starves the others. */
ssize_t body_send(struct body *body, struct transport *transport, uint64_t *sent);

#endif
