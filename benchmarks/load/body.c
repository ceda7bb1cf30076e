#include "body.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* The bytes that one connection may send before the next one gets its turn. Chosen: about a third
 * of a millisecond, and far above the cost of finding the next connection. */
#define TURN_SIZE (1u << 20)

int body_open(struct body *body, const char *path, uint64_t offset, uint64_t size,
              uint64_t chunk_size)
{
    *body = (struct body){.file = open(path, O_RDONLY | O_CLOEXEC),
                          .offset = (off_t)offset,
                          .left = chunk_size ? size : 0,
                          .chunk_size = chunk_size,
                          .chunk_left = chunk_size ? 0 : size,
                          .last = !chunk_size};
    return body->file < 0 ? -1 : 0;
}

void body_close(struct body *body)
{
    if (body->file >= 0)
        close(body->file);
    body->file = -1;
}

/* The line before the next chunk, with the end of the one before it. */
static void body_frame(struct body *body, bool first)
{
    const char *end = first ? "" : "\r\n";
    int size;

    body->chunk_left = body->left < body->chunk_size ? body->left : body->chunk_size;
    body->left -= body->chunk_left;
    body->last = body->chunk_left == 0;
    size = snprintf(body->frame, sizeof(body->frame), "%s%" PRIx64 "\r\n%s", end, body->chunk_left,
                    body->last ? "\r\n" : "");
    body->frame_size = (size_t)size;
    body->frame_sent = 0;
}

static ssize_t body_send_frame(struct body *body, struct transport *transport)
{
    const ssize_t count =
        transport_send(transport, body->frame + body->frame_sent,
                       body->frame_size - body->frame_sent, !body->last);

    if (count > 0)
        body->frame_sent += (size_t)count;
    return count;
}

static ssize_t body_send_chunk(struct body *body, struct transport *transport, uint64_t *sent)
{
    const size_t size = body->chunk_left < TURN_SIZE ? (size_t)body->chunk_left : TURN_SIZE;
    const ssize_t count = transport_send_file(transport, body->file, &body->offset, size);

    if (count > 0) {
        body->chunk_left -= (uint64_t)count;
        *sent += (uint64_t)count;
    }
    return count;
}

ssize_t body_send(struct body *body, struct transport *transport, uint64_t *sent)
{
    const uint64_t turn_end = *sent + TURN_SIZE;
    ssize_t count = 1;

    while (count > 0 && *sent < turn_end) {
        if (body->frame_sent < body->frame_size)
            count = body_send_frame(body, transport);
        else if (body->chunk_left > 0)
            count = body_send_chunk(body, transport, sent);
        else if (body->last)
            return 1;
        else
            body_frame(body, body->frame_size == 0);
    }
    transport->blocked = count > 0 || count == TRANSPORT_BLOCKED;
    return count > 0 ? TRANSPORT_BLOCKED : count;
}
