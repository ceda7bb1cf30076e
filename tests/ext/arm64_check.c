/* Checks of the C kernels without Python, to be run on another architecture (or under an
 * emulator of it). Without arguments: test vectors, and equality of all kernels of this CPU. With
 * min, average and max: cuts standard input, prints the number of cuts and the SHA-256 of them as
 * little-endian 64-bit ends, in the form of golden/cut_points.json. Exit status 0 on success. */
#include "chunked.h"
#include "gear.h"
#include "head.h"
#include "sha256.h"
#include "sha512.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failure_count;

static void expect(int condition, const char *what)
{
    if (!condition) {
        printf("failed: %s\n", what);
        failure_count++;
    }
}

static void to_hex(char *into, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        sprintf(into + 2 * i, "%02x", bytes[i]);
}

static void fill(uint8_t *data, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        data[i] = (uint8_t)(seed >> 24);
    }
}

static void hash256(dtr_sha256_blocks *blocks, const uint8_t *data, size_t size, size_t split,
                    char hex[65])
{
    dtr_sha256 hash;
    uint8_t digest[DTR_SHA256_DIGEST_SIZE];

    dtr_sha256_init(&hash);
    dtr_sha256_update(&hash, blocks, data, split);
    dtr_sha256_update(&hash, blocks, data + split, size - split);
    dtr_sha256_digest(&hash, blocks, digest);
    to_hex(hex, digest, sizeof digest);
}

static void check_sha256_kernel(int kernel_id, const uint8_t *data, const char *name)
{
    dtr_sha256_blocks *blocks = dtr_sha256_kernel(kernel_id);
    char hex[65], expected[65];

    printf("sha256 %s %s\n", name, blocks ? "present" : "absent");
    if (!blocks)
        return;
    hash256(blocks, (const uint8_t *)"", 0, 0, hex);
    expect(!strcmp(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), name);
    hash256(blocks, (const uint8_t *)"abc", 3, 1, hex);
    expect(!strcmp(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"), name);
    hash256(blocks, (const uint8_t *)"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
            9, hex);
    expect(!strcmp(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"), name);
    for (size_t size = 0; size < 400; size++) {
        hash256(dtr_sha256_blocks_portable, data, size, 0, expected);
        hash256(blocks, data, size, size / 3, hex);
        expect(!strcmp(hex, expected), name);
    }
}

static void check_sha512(void)
{
    dtr_sha512 hash;
    uint8_t digest[DTR_SHA512_DIGEST_SIZE];
    char hex[129];

    dtr_sha512_init(&hash);
    dtr_sha512_update(&hash, (const uint8_t *)"abc", 3);
    dtr_sha512_digest(&hash, digest);
    to_hex(hex, digest, sizeof digest);
    expect(!strcmp(hex, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"),
           "sha512");
}

static void check_gear_kernels(const uint8_t *data, size_t size)
{
    dtr_gear_limits limits;

    dtr_gear_limits_init(&limits, 64, 256, 1024);
    for (size_t start = 0; start < size;) {
        const size_t slow =
            dtr_gear_cut(&limits, dtr_gear_find_reference, data + start, size - start, 0);
        const size_t fast =
            dtr_gear_cut(&limits, dtr_gear_find_unrolled, data + start, size - start, 0);
        expect(slow == fast, "gear kernels");
        start = slow ? start + slow : size;
    }
}

static void check_framing(void)
{
    static const char text[] = "PUT /v2/?digest=a HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n";
    static const char body[] = "5\r\nhello\r\n0\r\n\r\nGET";
    dtr_head head;
    uint8_t into[8];
    dtr_chunked decoder = {0};
    dtr_chunked_input input = {(const uint8_t *)body, sizeof body - 1, 0};
    dtr_chunked_output output = {into, sizeof into, 0};

    expect(dtr_head_parse(&head, (const uint8_t *)text, sizeof text - 1) == DTR_HEAD_COMPLETE &&
               head.content_length == 12 && head.size == sizeof text - 1 && head.field_count == 2,
           "head");
    expect(dtr_head_parse(&head, (const uint8_t *)"GET / HTTP/1.1\n", 15) == DTR_HEAD_BAD_LINE_END,
           "bare LF");
    expect(dtr_chunked_decode(&decoder, &input, &output) == DTR_CHUNKED_OK &&
               decoder.state == DTR_CHUNKED_FINISHED && input.consumed == 15 &&
               output.produced == 5 && !memcmp(into, "hello", 5),
           "chunked");
}

static int print_cuts(size_t size_min, size_t size_average, size_t size_max)
{
    const size_t capacity = 16u << 20;
    uint8_t *data = malloc(capacity), end_bytes[8], digest[DTR_SHA256_DIGEST_SIZE];
    const size_t size = data ? fread(data, 1, capacity, stdin) : 0;
    dtr_sha256_blocks *blocks = dtr_sha256_blocks_portable;
    dtr_gear_limits limits;
    dtr_sha256 hash;
    size_t count = 0;
    char hex[65];

    dtr_gear_limits_init(&limits, size_min, size_average, size_max);
    dtr_sha256_init(&hash);
    for (size_t start = 0; start < size; count++) {
        const size_t cut =
            dtr_gear_cut(&limits, dtr_gear_find_unrolled, data + start, size - start, 0);
        start = cut ? start + cut : size;
        for (unsigned i = 0; i < 8; i++)
            end_bytes[i] = (uint8_t)((uint64_t)start >> (8 * i));
        dtr_sha256_update(&hash, blocks, end_bytes, sizeof end_bytes);
    }
    dtr_sha256_digest(&hash, blocks, digest);
    to_hex(hex, digest, sizeof digest);
    printf("%zu %s\n", count, hex);
    free(data);
    return size == 0;
}

int main(int argc, char **argv)
{
    static uint8_t data[200000];

    if (argc == 4)
        return print_cuts(strtoul(argv[1], NULL, 10), strtoul(argv[2], NULL, 10),
                          strtoul(argv[3], NULL, 10));
    fill(data, sizeof data, 88172645463325252u);
    check_sha256_kernel(DTR_SHA256_PORTABLE, data, "portable");
    check_sha256_kernel(DTR_SHA256_SHANI, data, "shani");
    check_sha256_kernel(DTR_SHA256_ARMV8, data, "armv8");
    check_sha512();
    check_gear_kernels(data, sizeof data);
    check_framing();
    printf("%s\n", failure_count ? "not well" : "all well");
    return failure_count != 0;
}
