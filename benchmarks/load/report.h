/* What a run tells when it is over: JSON on standard output. */
#ifndef LOAD_REPORT_H
#define LOAD_REPORT_H

#include "measure.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Messages that are kept. Chosen: enough to see what is wrong; the counts tell how often. */
#define MESSAGE_COUNT_MAX 8
#define MESSAGE_SIZE_MAX 400

struct messages {
    size_t count;
    char texts[MESSAGE_COUNT_MAX][MESSAGE_SIZE_MAX];
};

/* Keeps a message, unless it is there or there are enough. */
void message_add(struct messages *messages, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

uint64_t clock_now(void); /* nanoseconds that never go back */
uint64_t clock_cpu(void); /* nanoseconds that this process has computed */

void json_string(const char *text, size_t size);
void json_messages(const struct messages *messages);
void json_measure(const struct measure *measure);

#endif
