/* TLS over a non-blocking socket. Built without LOAD_TLS every session fails to open. */
#ifndef LOAD_TLS_H
#define LOAD_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tls;

/* NULL if there is no TLS. `name` is told to the server if it is a name, not an address. */
struct tls *tls_open(int fd, const char *name);
void tls_close(struct tls *tls);

/* The three below return an enum transport_outcome when it is not a count. */
ssize_t tls_handshake(struct tls *tls, bool *wants_write);
ssize_t tls_send(struct tls *tls, const void *data, size_t size);
ssize_t tls_receive(struct tls *tls, void *data, size_t size);

/* Has bytes that were taken from the socket and not yet given out, so that no event will come. */
bool tls_pending(const struct tls *tls);
/* What was agreed on, as `TLSv1.3 NAME`. */
void tls_cipher(const struct tls *tls, char *name, size_t size);

#endif
