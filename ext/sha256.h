/* SHA-256 (FIPS 180-4) over byte buffers.
 *
 * A kernel compresses whole blocks. The three functions below it handle the partial block, the
 * length and the padding for all kernels. Another kernel may continue the state of a kernel.
 */
#ifndef DTR_SHA256_H
#define DTR_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define DTR_SHA256_BLOCK_SIZE 64
#define DTR_SHA256_DIGEST_SIZE 32

enum dtr_sha256_kernel_id {
    DTR_SHA256_PORTABLE = 0,
    DTR_SHA256_SHANI = 1,
    DTR_SHA256_ARMV8 = 2,
};

typedef void dtr_sha256_blocks(uint32_t words[8], const uint8_t *data, size_t block_count);

/* The first size % 64 bytes of `block` are an incomplete block. */
typedef struct {
    uint64_t size;
    uint32_t words[8];
    uint8_t block[DTR_SHA256_BLOCK_SIZE];
} dtr_sha256;

/* Returns the kernel, or NULL if this build or this CPU lacks it. It executes CPUID on x86-64,
 * which traps to the hypervisor in a virtual machine: call it once and keep the result. */
dtr_sha256_blocks *dtr_sha256_kernel(int kernel_id);

void dtr_sha256_init(dtr_sha256 *hash);
void dtr_sha256_update(dtr_sha256 *hash, dtr_sha256_blocks *blocks, const uint8_t *data,
                       size_t size);
/* Pads a copy, so that `hash` can be continued. */
void dtr_sha256_digest(const dtr_sha256 *hash, dtr_sha256_blocks *blocks,
                       uint8_t digest[DTR_SHA256_DIGEST_SIZE]);

void dtr_sha256_blocks_portable(uint32_t words[8], const uint8_t *data, size_t block_count);
#if defined(__x86_64__)
int dtr_sha256_shani_supported(void);
void dtr_sha256_blocks_shani(uint32_t words[8], const uint8_t *data, size_t block_count);
#elif defined(__aarch64__) && defined(__linux__)
int dtr_sha256_armv8_supported(void);
void dtr_sha256_blocks_armv8(uint32_t words[8], const uint8_t *data, size_t block_count);
#endif

/* The 64 round constants, FIPS 180-4 section 4.2.2. */
extern const uint32_t dtr_sha256_constants[64];

#endif
