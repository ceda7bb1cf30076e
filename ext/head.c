/* Request heads: octets to lines and fields, then the meaning of the framing fields. */
#include "head.h"

#include "octets.h"

#include <string.h>

/* The framing fields seen so far. */
typedef struct {
    int has_host, has_expect, has_close, has_keep_alive;
} head_flags;

static inline int octet_is(uint8_t octet, uint8_t octet_class)
{
    return dtr_octet_classes[octet] & octet_class;
}

/* Returns the end of the run of octets of this class that starts at `position`. */
static size_t skip_class(const uint8_t *data, size_t size, size_t position, uint8_t octet_class)
{
    while (position < size && octet_is(data[position], octet_class))
        position++;
    return position;
}

/* Parses CR LF at *position and moves *position after it. */
static int parse_line_end(const uint8_t *data, size_t size, size_t *position)
{
    if (*position < size && data[*position] != '\r')
        return DTR_HEAD_BAD_LINE_END;
    if (*position + 1 < size && data[*position + 1] != '\n')
        return DTR_HEAD_BAD_LINE_END;
    if (size - *position < 2)
        return DTR_HEAD_INCOMPLETE;
    *position += 2;
    return DTR_HEAD_COMPLETE;
}

static int parse_method(dtr_head *head, const uint8_t *data, size_t size, size_t *position)
{
    const size_t end = skip_class(data, size, *position, DTR_OCTET_TOKEN);

    head->method.start = *position;
    head->method.size = end - *position;
    if (end == size)
        return DTR_HEAD_INCOMPLETE;
    if (head->method.size == 0 || data[end] != ' ')
        return DTR_HEAD_BAD_METHOD;
    *position = end + 1;
    return DTR_HEAD_COMPLETE;
}

/* Skips octets of one class, and "%" with two hexadecimal digits, up to the first other octet. */
static int parse_encoded(const uint8_t *data, size_t size, size_t *position, uint8_t octet_class)
{
    for (;;) {
        *position = skip_class(data, size, *position, octet_class);
        if (*position == size)
            return DTR_HEAD_INCOMPLETE;
        if (data[*position] != '%')
            return DTR_HEAD_COMPLETE;
        for (unsigned i = 1; i <= 2; i++) {
            if (size - *position <= i)
                return DTR_HEAD_INCOMPLETE;
            if (dtr_octet_hex(data[*position + i]) < 0)
                return DTR_HEAD_BAD_TARGET;
        }
        *position += 3;
    }
}

/* Parses "http://" or "https://" in any case. */
static int parse_scheme(const uint8_t *data, size_t size, size_t *position)
{
    static const char scheme[] = "http";

    for (size_t i = 0; scheme[i]; i++, *position += 1) {
        if (*position == size)
            return DTR_HEAD_INCOMPLETE;
        if (dtr_octet_lower(data[*position]) != (uint8_t)scheme[i])
            return DTR_HEAD_BAD_TARGET;
    }
    if (*position < size && dtr_octet_lower(data[*position]) == 's')
        *position += 1;
    for (const char *rest = "://"; *rest; rest++, *position += 1) {
        if (*position == size)
            return DTR_HEAD_INCOMPLETE;
        if (data[*position] != (uint8_t)*rest)
            return DTR_HEAD_BAD_TARGET;
    }
    return DTR_HEAD_COMPLETE;
}

/* Parses an authority without user information, not empty, as in Host (RFC 9110 section 4.2). */
static int parse_authority(const uint8_t *data, size_t size, size_t *position)
{
    const size_t start = *position;

    if (start < size && data[start] == '[') {
        do
            *position += 1;
        while (*position < size && (dtr_octet_hex(data[*position]) >= 0 ||
                                    data[*position] == ':' || data[*position] == '.'));
        if (*position == size)
            return DTR_HEAD_INCOMPLETE;
        if (*position == start + 1 || data[*position] != ']')
            return DTR_HEAD_BAD_TARGET;
        *position += 1;
    } else {
        const int status = parse_encoded(data, size, position, DTR_OCTET_HOST);
        if (status != DTR_HEAD_COMPLETE)
            return status;
        if (*position == start)
            return DTR_HEAD_BAD_TARGET;
    }
    if (*position < size && data[*position] == ':')
        for (*position += 1; *position < size && data[*position] >= '0' && data[*position] <= '9';)
            *position += 1;
    return *position == size ? DTR_HEAD_INCOMPLETE : DTR_HEAD_COMPLETE;
}

static int parse_absolute(const uint8_t *data, size_t size, size_t *position)
{
    const int status = parse_scheme(data, size, position);

    return status == DTR_HEAD_COMPLETE ? parse_authority(data, size, position) : status;
}

/* Parses a path and a query; either may be absent. */
static int parse_path(const uint8_t *data, size_t size, size_t *position)
{
    int status = DTR_HEAD_COMPLETE;

    if (data[*position] == '/')
        status = parse_encoded(data, size, position, DTR_OCTET_PATH);
    if (status == DTR_HEAD_COMPLETE && data[*position] == '?')
        status = (*position += 1, parse_encoded(data, size, position, DTR_OCTET_QUERY));
    return status;
}

/* Parses the origin form, the absolute form, or "*" for OPTIONS (RFC 9112 section 3.2). */
static int parse_target(dtr_head *head, const uint8_t *data, size_t size, size_t *position)
{
    const uint8_t *method = data + head->method.start;
    int status = DTR_HEAD_COMPLETE;

    head->target.start = *position;
    if (head->method.size == 7 && memcmp(method, "CONNECT", 7) == 0)
        return DTR_HEAD_BAD_TARGET;
    if (*position == size)
        return DTR_HEAD_INCOMPLETE;
    if (data[*position] == '*' && head->method.size == 7 && memcmp(method, "OPTIONS", 7) == 0) {
        *position += 1;
    } else {
        if (data[*position] != '/')
            status = parse_absolute(data, size, position);
        if (status == DTR_HEAD_COMPLETE)
            status = parse_path(data, size, position);
    }
    if (status != DTR_HEAD_COMPLETE)
        return status;
    if (*position == size)
        return DTR_HEAD_INCOMPLETE;
    head->target.size = *position - head->target.start;
    return data[(*position)++] == ' ' ? DTR_HEAD_COMPLETE : DTR_HEAD_BAD_TARGET;
}

static int parse_version(dtr_head *head, const uint8_t *data, size_t size, size_t *position)
{
    const size_t left = size - *position;

    if (memcmp(data + *position, "HTTP/1.", left < 7 ? left : 7) != 0)
        return DTR_HEAD_BAD_VERSION;
    if (left < 8)
        return DTR_HEAD_INCOMPLETE;
    head->version_minor = data[*position + 7] - '0';
    if (head->version_minor != 0 && head->version_minor != 1)
        return DTR_HEAD_BAD_VERSION;
    *position += 8;
    return parse_line_end(data, size, position);
}

static int parse_request_line(dtr_head *head, const uint8_t *data, size_t size, size_t *position)
{
    int status = DTR_HEAD_COMPLETE;

    if (size > 0 && data[0] == '\r')
        status = parse_line_end(data, size, position);
    if (status == DTR_HEAD_COMPLETE)
        status = parse_method(head, data, size, position);
    if (status == DTR_HEAD_COMPLETE)
        status = parse_target(head, data, size, position);
    if (status == DTR_HEAD_COMPLETE)
        status = parse_version(head, data, size, position);
    return status;
}

int dtr_field_parse(dtr_field *field, const uint8_t *data, size_t size, size_t *position)
{
    const size_t colon = skip_class(data, size, *position, DTR_OCTET_TOKEN);

    field->name.start = *position;
    field->name.size = colon - *position;
    if (colon == size)
        return DTR_HEAD_INCOMPLETE;
    if (field->name.size == 0 && (data[colon] == ' ' || data[colon] == '\t'))
        return DTR_HEAD_FOLDED;
    if (field->name.size == 0 || data[colon] != ':')
        return DTR_HEAD_BAD_NAME;

    size_t start = colon + 1;
    size_t end = skip_class(data, size, start, DTR_OCTET_VALUE);
    *position = end;
    if (end < size && data[end] != '\r' && data[end] != '\n')
        return DTR_HEAD_BAD_VALUE;
    while (start < end && (data[start] == ' ' || data[start] == '\t'))
        start++;
    while (start < end && (data[end - 1] == ' ' || data[end - 1] == '\t'))
        end--;
    field->value.start = start;
    field->value.size = end - start;
    return parse_line_end(data, size, position);
}

/* Compares without case; `lower` must be in lower case. */
static int equals_lower(const uint8_t *data, dtr_span span, const char *lower)
{
    if (span.size != strlen(lower))
        return 0;
    for (size_t i = 0; i < span.size; i++)
        if (dtr_octet_lower(data[span.start + i]) != (uint8_t)lower[i])
            return 0;
    return 1;
}

/* Accepts one decimal number below 2^63 without sign, spaces, commas or leading zeros. */
static int accept_content_length(dtr_head *head, const uint8_t *data, dtr_span value)
{
    const uint8_t *digits = data + value.start;
    uint64_t length = 0;

    if (head->content_length >= 0)
        return DTR_HEAD_REPEATED_LENGTH;
    if (value.size == 0 || value.size > 19 || (value.size > 1 && digits[0] == '0'))
        return DTR_HEAD_BAD_LENGTH;
    for (size_t i = 0; i < value.size; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return DTR_HEAD_BAD_LENGTH;
        length = length * 10 + (digits[i] - '0');
    }
    if (length > INT64_MAX)
        return DTR_HEAD_BAD_LENGTH;
    head->content_length = (int64_t)length;
    return head->chunked ? DTR_HEAD_LENGTH_AND_CODING : DTR_HEAD_COMPLETE;
}

static int accept_transfer_encoding(dtr_head *head, const uint8_t *data, dtr_span value)
{
    if (head->version_minor == 0)
        return DTR_HEAD_CODING_IN_1_0;
    if (head->chunked)
        return DTR_HEAD_REPEATED_CODING;
    if (!equals_lower(data, value, "chunked"))
        return DTR_HEAD_BAD_CODING;
    head->chunked = 1;
    return head->content_length >= 0 ? DTR_HEAD_LENGTH_AND_CODING : DTR_HEAD_COMPLETE;
}

static size_t skip_reg_name(const uint8_t *host, size_t size)
{
    size_t i = 0;

    while (i < size) {
        if (octet_is(host[i], DTR_OCTET_HOST))
            i++;
        else if (size - i > 2 && host[i] == '%' && dtr_octet_hex(host[i + 1]) >= 0 &&
                 dtr_octet_hex(host[i + 2]) >= 0)
            i += 3;
        else
            break;
    }
    return i;
}

/* Returns the position after "[" IPv6 "]", or 0. Does not check the groups of the address. */
static size_t skip_ip_literal(const uint8_t *host, size_t size)
{
    size_t i = 1;

    while (i < size && (dtr_octet_hex(host[i]) >= 0 || host[i] == ':' || host[i] == '.'))
        i++;
    return i > 1 && i < size && host[i] == ']' ? i + 1 : 0;
}

/* Accepts uri-host [ ":" port ], not empty (RFC 9110 sections 4.2.1 and 7.2). */
static int accept_host(head_flags *flags, const uint8_t *data, dtr_span value)
{
    const uint8_t *host = data + value.start;
    const size_t size = value.size;

    if (flags->has_host)
        return DTR_HEAD_REPEATED_HOST;
    flags->has_host = 1;

    const int literal = size > 0 && host[0] == '[';
    size_t i = literal ? skip_ip_literal(host, size) : skip_reg_name(host, size);
    if (i == 0)
        return DTR_HEAD_BAD_HOST;
    if (i < size && host[i] == ':')
        for (i++; i < size && host[i] >= '0' && host[i] <= '9'; i++)
            ;
    return i == size ? DTR_HEAD_COMPLETE : DTR_HEAD_BAD_HOST;
}

static int accept_expect(dtr_head *head, head_flags *flags, const uint8_t *data, dtr_span value)
{
    if (flags->has_expect || !equals_lower(data, value, "100-continue"))
        return DTR_HEAD_BAD_EXPECT;
    flags->has_expect = 1;
    head->expect_continue = head->version_minor == 1;
    return DTR_HEAD_COMPLETE;
}

/* Accepts a comma-separated list and ignores unknown options. */
static int accept_connection(head_flags *flags, const uint8_t *data, dtr_span value)
{
    const size_t end = value.start + value.size;

    for (size_t start = value.start; start < end;) {
        const uint8_t *comma = memchr(data + start, ',', end - start);
        const size_t next = comma ? (size_t)(comma - data) : end;
        dtr_span option = {start, next - start};

        for (; option.size > 0 && (data[option.start] == ' ' || data[option.start] == '\t');
             option.size--)
            option.start++;
        while (option.size > 0 && (data[option.start + option.size - 1] == ' ' ||
                                   data[option.start + option.size - 1] == '\t'))
            option.size--;
        flags->has_close |= equals_lower(data, option, "close");
        flags->has_keep_alive |= equals_lower(data, option, "keep-alive");
        start = next + 1;
    }
    return DTR_HEAD_COMPLETE;
}

/* True for X-Forwarded-ANYTHING and Forwarded (RFC 7239). The caller decides if it trusts them. */
static int is_forwarded(const uint8_t *data, dtr_span name)
{
    static const char start[] = "x-forwarded-";
    const dtr_span front = {name.start, sizeof start - 1};

    return name.size >= front.size ? equals_lower(data, front, start)
                                   : equals_lower(data, name, "forwarded");
}

static int accept_field(dtr_head *head, head_flags *flags, const uint8_t *data,
                        const dtr_field *field)
{
    head->forwarded |= is_forwarded(data, field->name);
    if (equals_lower(data, field->name, "host"))
        return accept_host(flags, data, field->value);
    if (equals_lower(data, field->name, "connection"))
        return accept_connection(flags, data, field->value);
    if (equals_lower(data, field->name, "content-length"))
        return accept_content_length(head, data, field->value);
    if (equals_lower(data, field->name, "transfer-encoding"))
        return accept_transfer_encoding(head, data, field->value);
    if (equals_lower(data, field->name, "expect"))
        return accept_expect(head, flags, data, field->value);
    return DTR_HEAD_COMPLETE;
}

static int parse_fields(dtr_head *head, head_flags *flags, const uint8_t *data, size_t size,
                        size_t *position)
{
    while (*position < size && data[*position] != '\r') {
        if (head->field_count == DTR_HEAD_FIELD_COUNT_MAX)
            return DTR_HEAD_TOO_MANY_FIELDS;

        dtr_field *field = &head->fields[head->field_count++];
        int status = dtr_field_parse(field, data, size, position);
        if (status == DTR_HEAD_COMPLETE)
            status = accept_field(head, flags, data, field);
        if (status != DTR_HEAD_COMPLETE)
            return status;
    }
    return parse_line_end(data, size, position);
}

int dtr_head_parse(dtr_head *head, const uint8_t *data, size_t size)
{
    head_flags flags = {0, 0, 0, 0};
    size_t position = 0;

    head->content_length = -1;
    head->chunked = head->expect_continue = head->forwarded = 0;
    head->field_count = 0;

    int status = parse_request_line(head, data, size, &position);
    if (status == DTR_HEAD_COMPLETE)
        status = parse_fields(head, &flags, data, size, &position);
    if (status != DTR_HEAD_COMPLETE)
        return status;
    if (head->version_minor == 1 && !flags.has_host)
        return DTR_HEAD_NO_HOST;
    head->keep_alive = !flags.has_close && (head->version_minor == 1 || flags.has_keep_alive);
    head->size = position;
    return DTR_HEAD_COMPLETE;
}

void dtr_name_lower(uint8_t *into, const uint8_t *name, size_t size)
{
    for (size_t i = 0; i < size; i++)
        into[i] = dtr_octet_lower(name[i]);
}
