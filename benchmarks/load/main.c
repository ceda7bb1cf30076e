/* The load client: `load run` and `load hold`, started by load.py, which documents both. */
#include "options.h"

#include <getopt.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define SECOND 1e9

enum option_id {
    OPTION_ADDRESS = 1,
    OPTION_PORT,
    OPTION_TLS,
    OPTION_CONNECTIONS,
    OPTION_TIMEOUT,
    OPTION_SECONDS,
    OPTION_REPEAT,
    OPTION_VERIFY,
    OPTION_KIND,
    OPTION_PATH,
    OPTION_HOST,
    OPTION_PREFIX_SIZE,
};

static const struct option names[] = {
    {"address", required_argument, NULL, OPTION_ADDRESS},
    {"port", required_argument, NULL, OPTION_PORT},
    {"tls", no_argument, NULL, OPTION_TLS},
    {"connections", required_argument, NULL, OPTION_CONNECTIONS},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"repeat", no_argument, NULL, OPTION_REPEAT},
    {"verify", no_argument, NULL, OPTION_VERIFY},
    {"kind", required_argument, NULL, OPTION_KIND},
    {"path", required_argument, NULL, OPTION_PATH},
    {"host", required_argument, NULL, OPTION_HOST},
    {"prefix-size", required_argument, NULL, OPTION_PREFIX_SIZE},
    {NULL, 0, NULL, 0},
};

static int usage(void)
{
    fputs("load run|hold --address A --port P [options]; benchmarks/load.py documents them\n",
          stderr);
    return 2;
}

static enum hold_kind kind_of(const char *name)
{
    if (strcmp(name, "slow-upload") == 0)
        return HOLD_SLOW_UPLOAD;
    return strcmp(name, "stalled-pull") == 0 ? HOLD_STALLED_PULL : HOLD_IDLE;
}

static void take_option(struct options *options, int id, const char *value)
{
    switch (id) {
    case OPTION_TLS:
        options->server.tls = true;
        break;
    case OPTION_CONNECTIONS:
        options->connections = (uint32_t)strtoul(value, NULL, 10);
        break;
    case OPTION_TIMEOUT:
        options->timeout = (uint64_t)(strtod(value, NULL) * SECOND);
        break;
    case OPTION_SECONDS:
        options->duration = (uint64_t)(strtod(value, NULL) * SECOND);
        break;
    case OPTION_REPEAT:
        options->repeat = true;
        break;
    case OPTION_VERIFY:
        options->verify = true;
        break;
    case OPTION_KIND:
        options->kind = kind_of(value);
        break;
    case OPTION_PATH:
        options->path = value;
        break;
    case OPTION_HOST:
        options->host = value;
        break;
    case OPTION_PREFIX_SIZE:
        options->prefix_size = strtoull(value, NULL, 10);
        break;
    }
}

/* Raises the soft limit of descriptors, often 1024, because thousands of connections are needed. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int count, char **values)
{
    struct options options = {.connections = 1, .timeout = 60 * (uint64_t)SECOND};
    const char *address = NULL, *port = NULL;
    int id, error;

    if (count < 2)
        return usage();
    while ((id = getopt_long(count - 1, values + 1, "", names, NULL)) != -1) {
        if (id == '?')
            return usage();
        if (id == OPTION_ADDRESS)
            address = optarg;
        else if (id == OPTION_PORT)
            port = optarg;
        else
            take_option(&options, id, optarg);
    }
    if (!address || !port || options.connections == 0)
        return usage();
    error = server_find(&options.server, address, port);
    if (error) {
        fprintf(stderr, "load: %s: %s\n", address, gai_strerror(error));
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    if (strcmp(values[1], "run") == 0)
        return run_plan(&options);
    return strcmp(values[1], "hold") == 0 ? hold_connections(&options) : usage();
}
