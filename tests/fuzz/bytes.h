/* Functions on bytes for all fuzzers. */
#ifndef DTR_FUZZ_BYTES_H
#define DTR_FUZZ_BYTES_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A copy with nothing behind it, so that a read beyond it is detected. The caller frees it. */
static inline uint8_t *copy_exactly(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    assert(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

/* The position of the first CR LF at or after `start`, or `size`. */
static inline size_t find_line_end(const uint8_t *data, size_t size, size_t start)
{
    for (size_t i = start; i + 1 < size; i++)
        if (data[i] == '\r' && data[i + 1] == '\n')
            return i;
    return size;
}

static inline int is_token_octet(uint8_t octet)
{
    return octet > 0x20 && octet < 0x7f && strchr("\"(),/:;<=>?@[\\]{}", octet) == NULL;
}

static inline int is_value_octet(uint8_t octet)
{
    return octet == '\t' || (octet >= 0x20 && octet != 0x7f);
}

/* The position of the colon in a well-formed field line without its CR LF, or 0. */
static inline size_t find_colon(const uint8_t *line, size_t size)
{
    size_t colon = 0;

    while (colon < size && is_token_octet(line[colon]))
        colon++;
    if (colon == 0 || colon == size || line[colon] != ':')
        return 0;
    for (size_t i = colon + 1; i < size; i++)
        if (!is_value_octet(line[i]))
            return 0;
    return colon;
}

#endif
