/* SHA-256 with the cryptographic extension of ARMv8-A (Arm ARM, SHA256H, SHA256H2, SHA256SU0/1). */
#if defined(__aarch64__) && defined(__linux__)

#include "sha256.h"

#include <arm_neon.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>

int dtr_sha256_armv8_supported(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_SHA2) != 0;
}

__attribute__((target("+crypto"))) static inline void
apply_four_rounds(uint32x4_t *abcd, uint32x4_t *efgh, uint32x4_t w, const uint32_t *k)
{
    const uint32x4_t addend = vaddq_u32(w, vld1q_u32(k));
    const uint32x4_t abcd_before = *abcd;

    *abcd = vsha256hq_u32(*abcd, *efgh, addend);
    *efgh = vsha256h2q_u32(*efgh, abcd_before, addend);
}

/* Returns the four schedule words that are 16 after w0, from the sixteen words w0..w3. */
__attribute__((target("+crypto"))) static inline uint32x4_t
extend_schedule(uint32x4_t w0, uint32x4_t w1, uint32x4_t w2, uint32x4_t w3)
{
    return vsha256su1q_u32(vsha256su0q_u32(w0, w1), w2, w3);
}

__attribute__((target("+crypto"))) static inline uint32x4_t load_words(const uint8_t *data)
{
    return vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data)));
}

__attribute__((target("+crypto"))) void
dtr_sha256_blocks_armv8(uint32_t words[8], const uint8_t *data, size_t block_count)
{
    const uint32_t *k = dtr_sha256_constants;
    uint32x4_t abcd = vld1q_u32(words), efgh = vld1q_u32(words + 4);

    for (; block_count > 0; block_count--, data += DTR_SHA256_BLOCK_SIZE) {
        const uint32x4_t abcd_before = abcd, efgh_before = efgh;
        uint32x4_t w0 = load_words(data), w1 = load_words(data + 16);
        uint32x4_t w2 = load_words(data + 32), w3 = load_words(data + 48);

        for (unsigned i = 0; i < 48; i += 16) {
            apply_four_rounds(&abcd, &efgh, w0, k + i);
            w0 = extend_schedule(w0, w1, w2, w3);
            apply_four_rounds(&abcd, &efgh, w1, k + i + 4);
            w1 = extend_schedule(w1, w2, w3, w0);
            apply_four_rounds(&abcd, &efgh, w2, k + i + 8);
            w2 = extend_schedule(w2, w3, w0, w1);
            apply_four_rounds(&abcd, &efgh, w3, k + i + 12);
            w3 = extend_schedule(w3, w0, w1, w2);
        }
        apply_four_rounds(&abcd, &efgh, w0, k + 48);
        apply_four_rounds(&abcd, &efgh, w1, k + 52);
        apply_four_rounds(&abcd, &efgh, w2, k + 56);
        apply_four_rounds(&abcd, &efgh, w3, k + 60);
        abcd = vaddq_u32(abcd, abcd_before);
        efgh = vaddq_u32(efgh, efgh_before);
    }
    vst1q_u32(words, abcd);
    vst1q_u32(words + 4, efgh);
}

#else
typedef int dtr_sha256_armv8_not_built;
#endif
