/* TLS over a non-blocking socket. Without LOAD_TLS, opening a session always fails. */
#ifndef LOAD_TLS_H
#define LOAD_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tls;

/* Returns NULL without TLS. `name` is sent to the server if it is not an address. */
struct tls *tls_open(int fd, const char *name);
void tls_close(struct tls *tls);

/* The three functions below return a count of bytes or an enum transport_outcome. */
ssize_t tls_handshake(struct tls *tls, bool *wants_write);
ssize_t tls_send(struct tls *tls, const void *data, size_t size);
ssize_t tls_receive(struct tls *tls, void *data, size_t size);

/* True if bytes read from the socket are still buffered, so that no event will come for them. */
bool tls_pending(const struct tls *tls);
/* The negotiated protocol and cipher, as `TLSv1.3 NAME`. */
void tls_cipher(const struct tls *tls, char *name, size_t size);

#endif
