/* The body of a request, sent from a file to the server. */
#ifndef LOAD_BODY_H
#define LOAD_BODY_H

#include "transport.h"

/* CR LF, 16 hexadecimal digits, CR LF; or CR LF, the last chunk, an empty line. */
#define BODY_FRAME_SIZE_MAX 24

struct body {
    int file;
    off_t offset;
    uint64_t left;       /* bytes of the file that are not in a chunk yet */
    uint64_t chunk_size; /* 0: the body is sent with its length, like one chunk */
    uint64_t chunk_left;
    char frame[BODY_FRAME_SIZE_MAX];
    size_t frame_size, frame_sent;
    bool last; /* this frame ends the body */
};

/* Without a `chunk_size` no framing is sent. Returns 0, or -1 with errno. Close an open body. */
int body_open(struct body *body, const char *path, uint64_t offset, uint64_t size,
              uint64_t chunk_size);
void body_close(struct body *body);
/* Returns 1 when all is sent, TRANSPORT_BLOCKED or TRANSPORT_LOST. Adds the sent bytes of the file
 * to *sent. Sometimes it returns blocked early, so that no connection starves the others. */
ssize_t body_send(struct body *body, struct transport *transport, uint64_t *sent);

#endif
