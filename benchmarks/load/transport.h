/* A non-blocking connection to the server, plain or TLS, and the events that it waits for. */
#ifndef LOAD_TRANSPORT_H
#define LOAD_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

struct tls;

/* Results of sending and receiving in place of a count of bytes. */
enum transport_outcome { TRANSPORT_ENDED = 0, TRANSPORT_BLOCKED = -1, TRANSPORT_LOST = -2 };

enum transport_state {
    TRANSPORT_CLOSED,
    TRANSPORT_CONNECTING,
    TRANSPORT_HANDSHAKING,
    TRANSPORT_READY,
};

struct server {
    struct sockaddr_storage address;
    socklen_t address_size;
    const char *name;
    bool tls;
    int receive_size; /* of the socket's buffer; 0: the kernel's default */
};

struct transport {
    int fd;
    enum transport_state state;
    struct tls *tls;
    bool readable; /* an event reported it, and no read was made since */
    bool blocked;  /* the send buffer was full; an event will follow */
    bool deaf;     /* input is left in the socket */
    uint32_t interest;
};

/* Looks up the server. Returns 0, or an error of getaddrinfo. */
int server_find(struct server *server, const char *name, const char *port);

/* Begins to connect. Returns 0, or -1 with errno. */
int transport_open(struct transport *transport, const struct server *server);
/* Continues the setup. Returns 1 if the transport is ready, TRANSPORT_BLOCKED or TRANSPORT_LOST. */
ssize_t transport_establish(struct transport *transport, const struct server *server);
void transport_close(struct transport *transport);

/* Registers the awaited events with `poll`, an epoll descriptor; events carry `owner`. */
void transport_watch(struct transport *transport, int poll, void *owner);
void transport_wake(struct transport *transport, uint32_t events);

/* These functions move as many bytes as possible. With `more`, more data follows at once. */
ssize_t transport_send(struct transport *transport, const void *data, size_t size, bool more);
/* Advances *offset. Returns TRANSPORT_LOST if the file ends too early. */
ssize_t transport_send_file(struct transport *transport, int file, off_t *offset, size_t size);
ssize_t transport_receive(struct transport *transport, void *data, size_t size);
/* Receives and discards. Without TLS the kernel drops the bytes without a copy. */
ssize_t transport_discard(struct transport *transport, uint64_t size);

#endif
