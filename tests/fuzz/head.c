/* Fuzzes dtr_head_parse: its result for an input, for prefixes, and for the lines it accepted. */
#include "bytes.h"
#include "head.h"

#include <stdio.h>
#include <strings.h>

/* The number of prefixes of one input: all of a short one, because each costs a parse. */
#define PREFIX_COUNT_MAX 128

/* The framing of a head, found by reading it line by line. */
typedef struct {
    size_t line_count;
    int lengths, codings, hosts, expects, has_close, has_keep_alive;
    int64_t content_length;
    int forwarded;
} facts;

static int parse_exactly(dtr_head *head, const uint8_t *data, size_t size)
{
    uint8_t *copy = copy_exactly(data, size);
    const int status = dtr_head_parse(head, copy, size);

    free(copy);
    return status;
}

static int has_name(const uint8_t *line, size_t colon, const char *name)
{
    return colon == strlen(name) && strncasecmp((const char *)line, name, colon) == 0;
}

/* The value of a field line as text without its outer white space. The caller frees it. */
static char *read_value(const uint8_t *line, size_t size, size_t colon)
{
    size_t start = colon + 1, end = size;

    while (start < end && strchr(" \t", line[start]))
        start++;
    while (start < end && strchr(" \t", line[end - 1]))
        end--;
    char *value = strndup((const char *)line + start, end - start);
    assert(value != NULL);
    return value;
}

static void note_connection(facts *found, char *value)
{
    for (char *option = strtok(value, ","); option; option = strtok(NULL, ",")) {
        option += strspn(option, " \t");
        size_t size = strlen(option);
        while (size > 0 && strchr(" \t", option[size - 1]))
            option[--size] = 0;
        found->has_close |= strcasecmp(option, "close") == 0;
        found->has_keep_alive |= strcasecmp(option, "keep-alive") == 0;
    }
}

static void note_field(facts *found, const uint8_t *line, size_t size)
{
    const size_t colon = find_colon(line, size);
    assert(colon > 0);
    char *value = read_value(line, size, colon);

    found->forwarded |= has_name(line, colon, "forwarded") ||
                        (colon > 11 && strncasecmp((const char *)line, "x-forwarded-", 12) == 0);
    if (has_name(line, colon, "content-length")) {
        found->lengths++;
        assert(strspn(value, "0123456789") == strlen(value) && strlen(value) > 0);
        found->content_length = strtoll(value, NULL, 10);
        char again[32];
        snprintf(again, sizeof again, "%lld", (long long)found->content_length);
        assert(strcmp(again, value) == 0);
    } else if (has_name(line, colon, "transfer-encoding")) {
        found->codings++;
        assert(strcasecmp(value, "chunked") == 0);
    } else if (has_name(line, colon, "host")) {
        found->hosts++;
        assert(strlen(value) > 0 && strcspn(value, " \t/@") == strlen(value));
    } else if (has_name(line, colon, "expect")) {
        found->expects++;
        assert(strcasecmp(value, "100-continue") == 0);
    } else if (has_name(line, colon, "connection")) {
        note_connection(found, value);
    }
    free(value);
}

/* Checks a target: origin form, "*", or a scheme and a valid host before a path. */
static void check_target(const char *target, size_t size)
{
    if (target[0] == '/' || (size == 1 && target[0] == '*'))
        return;
    const char *scheme = size > 4 && (target[4] | 0x20) == 's' ? "https://" : "http://";
    assert(size > strlen(scheme) && strncasecmp(target, scheme, strlen(scheme)) == 0);
    const char *host = target + strlen(scheme);
    const size_t left = size - strlen(scheme);
    size_t end = 0;

    while (end < left && host[end] != '/' && host[end] != '?')
        end++;
    assert(end > 0 && host[0] != ':' && memchr(host, '@', end) == NULL);
    assert(end == left || host[end] == '/' || host[end] == '?');
}

/* Checks method, one space, target, one space, version; returns the minor version. */
static int check_request_line(const dtr_head *head, const uint8_t *line, size_t size,
                              const uint8_t *data)
{
    const size_t method = head->method.size, target = head->target.size;

    assert(size == method + 1 + target + 1 + 8 && method > 0 && target > 0);
    assert(data + head->method.start == line);
    assert(data + head->target.start == line + method + 1);
    for (size_t i = 0; i < method; i++)
        assert(is_token_octet(line[i]));
    for (size_t i = 0; i < target; i++)
        assert(line[method + 1 + i] > 0x20 && line[method + 1 + i] < 0x7f);
    assert(line[method] == ' ' && line[method + 1 + target] == ' ');
    check_target((const char *)line + method + 1, target);
    assert(memcmp(line + size - 8, "HTTP/1.", 7) == 0);
    return line[size - 1] - '0';
}

static void check_span(const dtr_head *head, dtr_span span)
{
    assert(span.start <= head->size && span.size <= head->size - span.start);
}

static void check_field(const dtr_head *head, size_t i, const uint8_t *data, const uint8_t *line,
                        size_t size)
{
    const dtr_field *field = &head->fields[i];
    const size_t colon = find_colon(line, size);
    char *value = read_value(line, size, colon);

    check_span(head, field->name);
    check_span(head, field->value);
    assert(data + field->name.start == line && field->name.size == colon);
    assert(field->value.size == strlen(value));
    assert(memcmp(data + field->value.start, value, field->value.size) == 0);
    free(value);
}

/* Reads the accepted head again, line by line, and compares every field of the result. */
static void check_complete(const dtr_head *head, const uint8_t *data, size_t size)
{
    facts found = {0, 0, 0, 0, 0, 0, 0, -1, 0};

    assert(head->size <= size && head->field_count <= DTR_HEAD_FIELD_COUNT_MAX);
    check_span(head, head->method);
    check_span(head, head->target);
    size_t start = data[0] == '\r' ? 2 : 0;
    size_t end = find_line_end(data, head->size, start);
    const int minor = check_request_line(head, data + start, end - start, data);
    for (start = end + 2, end = find_line_end(data, head->size, start); end > start;
         start = end + 2, end = find_line_end(data, head->size, start)) {
        assert(found.line_count < head->field_count);
        check_field(head, found.line_count++, data, data + start, end - start);
        note_field(&found, data + start, end - start);
    }
    assert(end + 2 == head->size && found.line_count == head->field_count);
    assert(minor == head->version_minor && (minor == 0 || minor == 1));
    assert(found.lengths + found.codings <= 1 && found.expects <= 1);
    assert(found.hosts <= 1 && (found.hosts == 1 || minor == 0));
    assert(found.content_length == head->content_length);
    assert(found.codings == head->chunked && (minor == 1 || !head->chunked));
    assert(head->expect_continue == (minor == 1 && found.expects));
    assert(head->forwarded == found.forwarded);
    assert(head->keep_alive == (!found.has_close && (minor == 1 || found.has_keep_alive)));
}

/* Checks that a verdict stays for longer prefixes, and that shorter ones are incomplete. */
static void check_prefixes(const uint8_t *data, size_t size, int status, size_t head_size)
{
    const size_t step = 1 + size / PREFIX_COUNT_MAX;
    int seen = DTR_HEAD_INCOMPLETE;
    dtr_head head;

    for (size_t end = 0; end < size; end += step) {
        const int now = parse_exactly(&head, data, end);
        assert(seen == DTR_HEAD_INCOMPLETE || now == seen);
        assert(now == DTR_HEAD_INCOMPLETE || now == status);
        assert(now != DTR_HEAD_COMPLETE || head.size == head_size);
        assert(status != DTR_HEAD_COMPLETE || (now == DTR_HEAD_COMPLETE) == (end >= head_size));
        seen = now;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dtr_head head;
    const int status = parse_exactly(&head, data, size);

    assert(status <= DTR_HEAD_INCOMPLETE && status >= DTR_HEAD_BAD_EXPECT);
    if (status == DTR_HEAD_COMPLETE)
        check_complete(&head, data, size);
    check_prefixes(data, size, status, status == DTR_HEAD_COMPLETE ? head.size : 0);
    return 0;
}
