/* The parts of a response's head that the client needs. */
#ifndef LOAD_ANSWER_H
#define LOAD_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum answer_parsed { ANSWER_INCOMPLETE = 0, ANSWER_COMPLETE = 1, ANSWER_MALFORMED = -1 };

struct answer {
    size_t size; /* of the head, including its empty line */
    int status;
    int64_t content_length; /* -1 if there is none */
    bool chunked, keep_alive;
    const char *location; /* NULL if there is none */
    size_t location_size;
};

int answer_parse(struct answer *answer, const char *data, size_t size);

#endif
