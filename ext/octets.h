/* Classes of octets in HTTP/1.1 messages: RFC 9110 section 5.6.2, RFC 3986 section 2. */
#ifndef DTR_OCTETS_H
#define DTR_OCTETS_H

#include <stddef.h>
#include <stdint.h>

#define DTR_OCTET_TOKEN 1  /* tchar: methods and field names */
#define DTR_OCTET_VALUE 2  /* field values: HTAB, SP, VCHAR, obs-text */
#define DTR_OCTET_PATH 4   /* pchar except "%", and "/" */
#define DTR_OCTET_QUERY 8  /* as PATH, "?", and octets that browsers do not encode: []{}|\^` */
#define DTR_OCTET_HOST 16  /* reg-name except "%" */

extern const uint8_t dtr_octet_classes[256];

/* The value of a hexadecimal digit, 0 to 15, or -1. */
static inline int dtr_octet_hex(uint8_t octet)
{
    if (octet >= '0' && octet <= '9')
        return octet - '0';
    octet |= 0x20;
    return octet >= 'a' && octet <= 'f' ? octet - 'a' + 10 : -1;
}

static inline uint8_t dtr_octet_lower(uint8_t octet)
{
    return octet >= 'A' && octet <= 'Z' ? octet | 0x20 : octet;
}

#endif
