#include "report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define SECOND 1000000000ull

void message_add(struct messages *messages, const char *format, ...)
{
    va_list arguments;
    char *text;

    if (messages->count == MESSAGE_COUNT_MAX)
        return;
    text = messages->texts[messages->count];
    va_start(arguments, format);
    vsnprintf(text, MESSAGE_SIZE_MAX, format, arguments);
    va_end(arguments);
    for (size_t i = 0; i < messages->count; i++)
        if (strcmp(messages->texts[i], text) == 0)
            return;
    messages->count++;
}

uint64_t clock_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static uint64_t nanoseconds(struct timeval time)
{
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_usec * 1000;
}

uint64_t clock_cpu(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime);
}

void json_string(const char *text, size_t size)
{
    putchar('"');
    for (size_t i = 0; i < size; i++) {
        const unsigned char octet = (unsigned char)text[i];

        if (octet == '"' || octet == '\\')
            printf("\\%c", octet);
        else if (octet < 32)
            printf("\\u%04x", octet);
        else
            putchar(octet);
    }
    putchar('"');
}

/* A server may answer any bytes: bytes outside ASCII are replaced, so that the output is JSON. */
void json_messages(const struct messages *messages)
{
    putchar('[');
    for (size_t i = 0; i < messages->count; i++) {
        char text[MESSAGE_SIZE_MAX];
        const size_t size = strlen(messages->texts[i]);

        for (size_t j = 0; j < size; j++)
            text[j] = messages->texts[i][j] & '\x80' ? '?' : messages->texts[i][j];
        fputs(i ? "," : "", stdout);
        json_string(text, size);
    }
    putchar(']');
}

static double seconds(uint64_t nanoseconds)
{
    return (double)nanoseconds / (double)SECOND;
}

void json_measure(const struct measure *measure)
{
    const struct histogram *latency = &measure->latency;

    printf("{\"count\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"bytes_in\":%" PRIu64
           ",\"bytes_out\":%" PRIu64 ",\"latency\":{",
           latency->count, measure->errors, measure->bytes_in, measure->bytes_out);
    printf("\"p50\":%.9f,\"p90\":%.9f,\"p99\":%.9f,\"maximum\":%.9f}}",
           seconds(histogram_quantile(latency, 0.5)), seconds(histogram_quantile(latency, 0.9)),
           seconds(histogram_quantile(latency, 0.99)), seconds(latency->maximum));
}
