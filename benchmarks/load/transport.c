#include "transport.h"

#include "tls.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <unistd.h>

/* The most data of a TLS record (RFC 8446 section 5.1). Encrypting more at once saves nothing. */
#define RECORD_SIZE_MAX 16384
/* The most bytes that one call discards: the largest count. */
#define DISCARD_SIZE_MAX (1u << 30)

int server_find(struct server *server, const char *name, const char *port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    const int error = getaddrinfo(name, port, &hints, &found);

    if (error)
        return error;
    memcpy(&server->address, found->ai_addr, found->ai_addrlen);
    server->address_size = found->ai_addrlen;
    server->name = name;
    freeaddrinfo(found);
    return 0;
}

int transport_open(struct transport *transport, const struct server *server)
{
    const int on = 1, type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

    *transport = (struct transport){.fd = socket(server->address.ss_family, type, 0)};
    if (transport->fd < 0)
        return -1;
    setsockopt(transport->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (server->receive_size)
        setsockopt(transport->fd, SOL_SOCKET, SO_RCVBUF, &server->receive_size,
                   sizeof(server->receive_size));
    if (connect(transport->fd, (const struct sockaddr *)&server->address, server->address_size) &&
        errno != EINPROGRESS) {
        transport_close(transport);
        return -1;
    }
    transport->state = TRANSPORT_CONNECTING;
    transport->blocked = true;
    return 0;
}

/* Returns the final result of connect. */
static ssize_t transport_connected(struct transport *transport)
{
    int error = 0;
    socklen_t size = sizeof(error);

    if (transport->blocked)
        return TRANSPORT_BLOCKED;
    getsockopt(transport->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    errno = error;
    return error ? TRANSPORT_LOST : 1;
}

ssize_t transport_establish(struct transport *transport, const struct server *server)
{
    ssize_t outcome = transport->state == TRANSPORT_CLOSED ? TRANSPORT_BLOCKED : 1;

    if (transport->state == TRANSPORT_CONNECTING) {
        outcome = transport_connected(transport);
        if (outcome != 1)
            return outcome;
        transport->state = server->tls ? TRANSPORT_HANDSHAKING : TRANSPORT_READY;
    }
    if (transport->state == TRANSPORT_HANDSHAKING) {
        if (!transport->tls)
            transport->tls = tls_open(transport->fd, server->name);
        outcome = transport->tls ? tls_handshake(transport->tls, &transport->blocked)
                                 : TRANSPORT_LOST;
        if (outcome == 1)
            transport->state = TRANSPORT_READY;
        else if (outcome == TRANSPORT_ENDED)
            outcome = TRANSPORT_LOST;
    }
    return outcome;
}

void transport_close(struct transport *transport)
{
    if (transport->tls)
        tls_close(transport->tls);
    if (transport->fd >= 0)
        close(transport->fd);
    *transport = (struct transport){.fd = -1};
}

void transport_watch(struct transport *transport, int poll, void *owner)
{
    const uint32_t interest =
        (transport->deaf ? EPOLLRDHUP : EPOLLIN) | (transport->blocked ? EPOLLOUT : 0);
    struct epoll_event event = {.events = interest, .data.ptr = owner};

    if (transport->fd < 0 || interest == transport->interest)
        return;
    epoll_ctl(poll, transport->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, transport->fd, &event);
    transport->interest = interest;
}

/* An error counts as readable and writable, so that the next call reports it. */
void transport_wake(struct transport *transport, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP))
        transport->readable = true;
    if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
        transport->blocked = false;
}

static ssize_t outcome_of(ssize_t count)
{
    if (count >= 0)
        return count;
    return errno == EAGAIN || errno == EINTR ? TRANSPORT_BLOCKED : TRANSPORT_LOST;
}

static ssize_t sent(struct transport *transport, ssize_t outcome)
{
    transport->blocked = outcome == TRANSPORT_BLOCKED;
    return outcome;
}

static ssize_t received(struct transport *transport, ssize_t outcome)
{
    transport->readable =
        outcome > 0 && transport->tls != NULL && tls_pending(transport->tls);
    return outcome;
}

ssize_t transport_send(struct transport *transport, const void *data, size_t size, bool more)
{
    const int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);

    if (transport->tls)
        return sent(transport, tls_send(transport->tls, data, size));
    return sent(transport, outcome_of(send(transport->fd, data, size, flags)));
}

static ssize_t file_ended(void)
{
    errno = ENODATA;
    return TRANSPORT_LOST;
}

/* After a block OpenSSL needs the same bytes again: they are read again from the page cache. */
static ssize_t tls_send_file(struct transport *transport, int file, off_t *offset, size_t size)
{
    static char record[RECORD_SIZE_MAX];
    const ssize_t count =
        pread(file, record, size < sizeof(record) ? size : sizeof(record), *offset);
    ssize_t outcome;

    if (count <= 0)
        return count ? TRANSPORT_LOST : file_ended();
    outcome = tls_send(transport->tls, record, (size_t)count);
    if (outcome > 0)
        *offset += outcome;
    return outcome;
}

ssize_t transport_send_file(struct transport *transport, int file, off_t *offset, size_t size)
{
    ssize_t count;

    if (transport->tls)
        return sent(transport, tls_send_file(transport, file, offset, size));
    count = outcome_of(sendfile(transport->fd, file, offset, size));
    return sent(transport, count ? count : file_ended());
}

ssize_t transport_receive(struct transport *transport, void *data, size_t size)
{
    if (transport->tls)
        return received(transport, tls_receive(transport->tls, data, size));
    return received(transport, outcome_of(recv(transport->fd, data, size, 0)));
}

ssize_t transport_discard(struct transport *transport, uint64_t size)
{
    static char record[RECORD_SIZE_MAX];
    const size_t count = size < DISCARD_SIZE_MAX ? (size_t)size : DISCARD_SIZE_MAX;

    if (transport->tls)
        return transport_receive(transport, record,
                                 count < sizeof(record) ? count : sizeof(record));
    return received(transport, outcome_of(recv(transport->fd, NULL, count, MSG_TRUNC)));
}
