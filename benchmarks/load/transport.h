/* A non-blocking connection to the server, plain or TLS, and what it waits for. */
#ifndef LOAD_TRANSPORT_H
#define LOAD_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

struct tls;

/* What sending and receiving return in place of a count of bytes. */
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
    int receive_size; /* of the socket's buffer; 0 leaves it to the kernel */
};

struct transport {
    int fd;
    enum transport_state state;
    struct tls *tls;
    bool readable; /* an event said so, and no read has been made since */
    bool blocked;  /* there was no room to send; an event will tell */
    bool deaf;     /* what comes in is left in the socket */
    uint32_t interest;
};

/* Looks the server up; 0, or an error of getaddrinfo. */
int server_find(struct server *server, const char *name, const char *port);

/* Begins to connect; 0, or -1 with errno. */
int transport_open(struct transport *transport, const struct server *server);
/* Goes on until the transport is ready: 1, TRANSPORT_BLOCKED or TRANSPORT_LOST. */
ssize_t transport_establish(struct transport *transport, const struct server *server);
void transport_close(struct transport *transport);

/* Tells `poll`, an epoll descriptor, what the transport waits for; events carry `owner`. */
void transport_watch(struct transport *transport, int poll, void *owner);
void transport_wake(struct transport *transport, uint32_t events);

/* All of them move what can be moved at once. `more` says that more is sent right after. */
ssize_t transport_send(struct transport *transport, const void *data, size_t size, bool more);
/* Moves *offset. A file that ends too early is TRANSPORT_LOST. */
ssize_t transport_send_file(struct transport *transport, int file, off_t *offset, size_t size);
ssize_t transport_receive(struct transport *transport, void *data, size_t size);
/* Receives without looking: without TLS, the kernel drops the bytes where they are. */
ssize_t transport_discard(struct transport *transport, uint64_t size);

#endif
