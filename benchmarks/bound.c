/* The bound of a push: the cost of receiving and chunking a body, and nothing else.
 *
 * An HTTP server that receives blob uploads and writes their bytes to files. It cannot serve them.
 * Each buffer goes through the kernels that the registry uses: chunked decoding, SHA-256, gear,
 * XXH3-128, then pwrite. The closing PUT syncs the file and compares the digest. There are no
 * look-ups, no deduplication, no compression and no index. Each connection has a thread; an upload
 * ends with its connection. The server closes the connection of a client that breaks the rules.
 *
 *     bound PORT FOLDER
 */
#define _GNU_SOURCE

#include "chunked.h"
#include "gear.h"
#include "head.h"
#include "sha256.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The sizes of dtrfast._core.Chunker. */
#define CHUNK_SIZE_MIN 16384
#define CHUNK_SIZE_AVERAGE 65536
#define CHUNK_SIZE_MAX 262144
#define READ_SIZE (1 << 20)
#define HEAD_SIZE_MAX 16384

/* The stable interface of libxxhash, so that its headers are not needed. */
typedef struct {
    uint64_t low64, high64;
} xxh128;
typedef xxh128 xxh3(const void *data, size_t size);

typedef struct {
    int file;
    uint64_t size;
    dtr_sha256 hash;
    xxh128 sum;       /* of all chunks' hashes, so that the compiler keeps them */
    size_t tail_size; /* bytes at the start of the window that belong to no chunk yet */
} upload;

typedef struct {
    int socket;
    size_t head_size;     /* octets in `head`, perhaps with the start of a body */
    uint8_t head[HEAD_SIZE_MAX];
    upload upload;
    uint8_t window[CHUNK_SIZE_MAX + READ_SIZE];
} connection;

static const char *folder;
static xxh3 *hash_chunk;
static dtr_sha256_blocks *sha256_blocks;
static dtr_gear_limits limits;

static void upload_open(upload *into)
{
    into->file = open(folder, O_TMPFILE | O_WRONLY, 0600);
    into->size = into->tail_size = 0;
    dtr_sha256_init(&into->hash);
}

/* Processes the chunks that end in these bytes. Returns their total size. */
static size_t upload_cut(upload *into, const uint8_t *data, size_t size, size_t scanned)
{
    size_t start = 0, end;

    while ((end = dtr_gear_cut(&limits, dtr_gear_find_unrolled, data + start, size - start,
                               scanned)) > 0) {
        const xxh128 chunk = hash_chunk(data + start, end);
        into->sum.low64 ^= chunk.low64;
        into->sum.high64 ^= chunk.high64;
        start += end;
        scanned = 0;
    }
    return start;
}

/* Processes the `size` bytes after the tail in the window. Returns -1 if writing fails. */
static int upload_take(upload *into, uint8_t *window, size_t size)
{
    const size_t filled = into->tail_size + size;

    dtr_sha256_update(&into->hash, sha256_blocks, window + into->tail_size, size);
    if (pwrite(into->file, window + into->tail_size, size, (off_t)into->size) != (ssize_t)size)
        return -1;
    into->size += size;
    const size_t cut = upload_cut(into, window, filled, into->tail_size);
    into->tail_size = filled - cut;
    memmove(window, window + cut, into->tail_size);
    return 0;
}

/* Returns true if the bytes are on disk and match the digest in the target. */
static int upload_close(upload *from, const uint8_t *window, const char *target, size_t size)
{
    uint8_t digest[DTR_SHA256_DIGEST_SIZE];
    char hex[2 * DTR_SHA256_DIGEST_SIZE + 1];

    if (from->tail_size > 0)
        hash_chunk(window, from->tail_size);
    dtr_sha256_digest(&from->hash, sha256_blocks, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    const int synced = fsync(from->file) == 0;
    close(from->file);
    from->file = -1;
    return synced && memmem(target, size, hex, sizeof hex - 1) != NULL;
}

/* Returns bytes that arrived with the head, else from the socket; 0 or less is the end. */
static ssize_t receive(connection *from, uint8_t *into, size_t size)
{
    if (from->head_size == 0)
        return recv(from->socket, into, size, 0);
    const size_t ready = from->head_size < size ? from->head_size : size;
    memcpy(into, from->head, ready);
    from->head_size -= ready;
    memmove(from->head, from->head + ready, from->head_size);
    return (ssize_t)ready;
}

static int body_with_length(connection *from, uint64_t left)
{
    while (left > 0) {
        const size_t want = left < READ_SIZE ? (size_t)left : READ_SIZE;
        const ssize_t size = receive(from, from->window + from->upload.tail_size, want);
        if (size <= 0 || upload_take(&from->upload, from->window, (size_t)size) < 0)
            return -1;
        left -= (uint64_t)size;
    }
    return 0;
}

/* No bytes may follow the body, because the client waits for the answer. */
static int body_chunked(connection *from)
{
    dtr_chunked decoder = {0};

    while (decoder.state != DTR_CHUNKED_FINISHED) {
        uint8_t *data = from->window + from->upload.tail_size;
        const ssize_t size = receive(from, data, READ_SIZE);
        if (size <= 0)
            return -1;
        dtr_chunked_input input = {data, (size_t)size, 0};
        dtr_chunked_output output = {data, (size_t)size, 0};
        if (dtr_chunked_decode(&decoder, &input, &output) != DTR_CHUNKED_OK)
            return -1;
        if (upload_take(&from->upload, from->window, output.produced) < 0)
            return -1;
    }
    return 0;
}

static int answer(const connection *to, const char *status)
{
    char text[256];
    const int size = snprintf(text, sizeof text,
                              "HTTP/1.1 %s\r\nLocation: /v2/bound/blobs/uploads/1\r\n"
                              "Range: 0-0\r\nContent-Length: 0\r\n\r\n", status);

    return send(to->socket, text, (size_t)size, MSG_NOSIGNAL) == size ? 0 : -1;
}

/* Executes the request: appends a body to the upload; PUT closes the upload. */
static int serve_request(connection *from, const dtr_head *head, const char *method,
                         const char *target)
{
    upload *into = &from->upload;

    if (strncmp(method, "GET", 3) == 0)
        return answer(from, "200 OK");
    if (strncmp(method, "HEAD", 4) == 0)
        return answer(from, "404 Not Found");
    if (strncmp(method, "POST", 4) == 0) {
        if (into->file >= 0)
            close(into->file);
        upload_open(into);
        return into->file >= 0 ? answer(from, "202 Accepted") : -1;
    }
    if (into->file < 0)
        return -1;
    const uint64_t length = head->content_length > 0 ? (uint64_t)head->content_length : 0;
    if ((head->chunked ? body_chunked(from) : body_with_length(from, length)) < 0)
        return -1;
    if (strncmp(method, "PUT", 3) != 0)
        return answer(from, "202 Accepted");
    const int good = upload_close(into, from->window, target, head->target.size);
    return answer(from, good ? "201 Created" : "400 Bad Request");
}

/* Reads a head. Returns -1 if there is none or it is invalid. */
static int read_head(connection *from, dtr_head *head)
{
    int status;

    while ((status = dtr_head_parse(head, from->head, from->head_size)) == DTR_HEAD_INCOMPLETE) {
        const size_t room = HEAD_SIZE_MAX - from->head_size;
        const ssize_t size =
            room > 0 ? recv(from->socket, from->head + from->head_size, room, 0) : -1;
        if (size <= 0)
            return -1;
        from->head_size += (size_t)size;
    }
    return status == DTR_HEAD_COMPLETE ? 0 : -1;
}

static int next_request(connection *from)
{
    uint8_t text[HEAD_SIZE_MAX];
    dtr_head head;

    if (read_head(from, &head) < 0)
        return -1;
    memcpy(text, from->head, head.size);
    from->head_size -= head.size;
    memmove(from->head, from->head + head.size, from->head_size);
    return serve_request(from, &head, (const char *)text + head.method.start,
                         (const char *)text + head.target.start);
}

static void *serve(void *argument)
{
    connection *from = argument;

    while (next_request(from) == 0)
        ;
    if (from->upload.file >= 0)
        close(from->upload.file);
    close(from->socket);
    free(from);
    return NULL;
}

static int listen_on(uint16_t port)
{
    const int listening = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listening, (const struct sockaddr *)&address, sizeof address) < 0
        || listen(listening, 1024) < 0)
        return -1;
    return listening;
}

static int accept_all(int listening)
{
    const int yes = 1;
    pthread_t thread;

    for (;;) {
        connection *from = calloc(1, sizeof *from);
        if (from == NULL || (from->socket = accept(listening, NULL, NULL)) < 0)
            return 1;
        from->upload.file = -1;
        setsockopt(from->socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        if (pthread_create(&thread, NULL, serve, from) != 0)
            return 1;
        pthread_detach(thread);
    }
}

/* Selects the kernel as the xxhash module of dtrfast does: the widest one of this CPU. */
static xxh3 *find_xxh3(void)
{
    void *library = dlopen("libxxhash.so.0", RTLD_NOW);

    if (library == NULL)
        return NULL;
    void *found = dlsym(library, "XXH3_128bits_dispatch");
    return (xxh3 *)(found != NULL ? found : dlsym(library, "XXH3_128bits"));
}

int main(int count, char **arguments)
{
    if (count != 3)
        return fprintf(stderr, "usage: bound PORT FOLDER\n"), 2;
    folder = arguments[2];
    hash_chunk = find_xxh3();
    if (hash_chunk == NULL)
        return fprintf(stderr, "no libxxhash.so.0: apt-get install libxxhash0\n"), 1;
    sha256_blocks = dtr_sha256_kernel(DTR_SHA256_SHANI);
    if (sha256_blocks == NULL)
        sha256_blocks = dtr_sha256_kernel(DTR_SHA256_ARMV8);
    if (sha256_blocks == NULL)
        sha256_blocks = dtr_sha256_kernel(DTR_SHA256_PORTABLE);
    dtr_gear_limits_init(&limits, CHUNK_SIZE_MIN, CHUNK_SIZE_AVERAGE, CHUNK_SIZE_MAX);
    const int listening = listen_on((uint16_t)atoi(arguments[1]));
    if (listening < 0)
        return perror("bound"), 1;
    return accept_all(listening);
}
