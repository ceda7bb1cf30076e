#include "answer.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* A number with so many digits is below 2^63. */
#define LENGTH_DIGIT_COUNT_MAX 18

struct text {
    const char *data;
    size_t size;
};

static bool text_is(struct text text, const char *lower)
{
    return text.size == strlen(lower) && strncasecmp(text.data, lower, text.size) == 0;
}

static struct text text_trimmed(const char *data, const char *end)
{
    while (data < end && (*data == ' ' || *data == '\t'))
        data++;
    while (end > data && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return (struct text){data, (size_t)(end - data)};
}

/* Returns -1 if it is not a number. */
static int64_t text_number(struct text text)
{
    int64_t number = 0;

    if (text.size == 0 || text.size > LENGTH_DIGIT_COUNT_MAX)
        return -1;
    for (size_t i = 0; i < text.size; i++) {
        if (!isdigit((unsigned char)text.data[i]))
            return -1;
        number = number * 10 + (text.data[i] - '0');
    }
    return number;
}

static bool parse_status(struct answer *answer, const char *line, const char *end)
{
    if (end - line < 12 || memcmp(line, "HTTP/1.", 7) || line[8] != ' ')
        return false;
    answer->keep_alive = line[7] == '1';
    answer->status = (int)text_number((struct text){line + 9, 3});
    return answer->status >= 100;
}

static bool parse_field(struct answer *answer, struct text name, struct text value)
{
    if (text_is(name, "content-length")) {
        answer->content_length = text_number(value);
        return answer->content_length >= 0;
    }
    if (text_is(name, "transfer-encoding")) {
        answer->chunked = text_is(value, "chunked");
        return answer->chunked;
    }
    if (text_is(name, "connection")) {
        if (text_is(value, "close"))
            answer->keep_alive = false;
        else if (text_is(value, "keep-alive"))
            answer->keep_alive = true;
    } else if (text_is(name, "location")) {
        answer->location = value.data;
        answer->location_size = value.size;
    }
    return true;
}

static bool parse_line(struct answer *answer, const char *line, const char *end)
{
    const char *colon = memchr(line, ':', (size_t)(end - line));

    if (!colon)
        return false;
    return parse_field(answer, (struct text){line, (size_t)(colon - line)},
                       text_trimmed(colon + 1, end));
}

int answer_parse(struct answer *answer, const char *data, size_t size)
{
    const char *line = data, *last = memmem(data, size, "\r\n\r\n", 4), *end;

    if (!last)
        return ANSWER_INCOMPLETE;
    *answer = (struct answer){.size = (size_t)(last - data) + 4, .content_length = -1};
    end = memmem(line, answer->size, "\r\n", 2);
    if (!parse_status(answer, line, end))
        return ANSWER_MALFORMED;
    for (line = end + 2; line < last; line = end + 2) {
        end = memmem(line, (size_t)(last + 2 - line), "\r\n", 2);
        if (!parse_line(answer, line, end))
            return ANSWER_MALFORMED;
    }
    return ANSWER_COMPLETE;
}
