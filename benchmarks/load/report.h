/* The result of a run: JSON on standard output. */
#ifndef LOAD_REPORT_H
#define LOAD_REPORT_H

#include "measure.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most messages that are kept. Chosen: enough to find the fault; the counts are complete. */
#define MESSAGE_COUNT_MAX 8
#define MESSAGE_SIZE_MAX 400

struct messages {
    size_t count;
    char texts[MESSAGE_COUNT_MAX][MESSAGE_SIZE_MAX];
};

/* Keeps a message unless it is a duplicate or there are enough. */
void message_add(struct messages *messages, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

uint64_t clock_now(void); /* monotonic nanoseconds */
uint64_t clock_cpu(void); /* nanoseconds of CPU time of this process */

void json_string(const char *text, size_t size);
void json_messages(const struct messages *messages);
void json_measure(const struct measure *measure);

#endif
