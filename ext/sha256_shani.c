/* SHA-256 with the SHA extensions of x86-64 (Intel SDM volume 2, SHA256RNDS2 and SHA256MSG1/2).
 *
 * The instructions need the eight words as ABEF and CDGH. Two SHA256RNDS2 do four rounds and depend
 * on each other. This dependency bounds the speed; the schedule is computed in parallel.
 */
#if defined(__x86_64__)

#include "sha256.h"

#include <cpuid.h>
#include <immintrin.h>

int dtr_sha256_shani_supported(void)
{
    unsigned a, b, c, d;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
        return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29));
}

__attribute__((target("sha,ssse3,sse4.1"))) static inline void
apply_four_rounds(__m128i *abef, __m128i *cdgh, __m128i w, const uint32_t *k)
{
    const __m128i addend = _mm_add_epi32(w, _mm_loadu_si128((const __m128i *)k));

    *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, addend);
    *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(addend, 0x0E));
}

/* Returns the four schedule words that are 16 after w0, from the sixteen words w0..w3. */
__attribute__((target("sha,ssse3,sse4.1"))) static inline __m128i
extend_schedule(__m128i w0, __m128i w1, __m128i w2, __m128i w3)
{
    const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));

    return _mm_sha256msg2_epu32(sum, w3);
}

__attribute__((target("sha,ssse3,sse4.1"))) static inline __m128i
load_words(const uint8_t *data)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);

    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)data), swap);
}

__attribute__((target("sha,ssse3,sse4.1"))) void
dtr_sha256_blocks_shani(uint32_t words[8], const uint8_t *data, size_t block_count)
{
    const uint32_t *k = dtr_sha256_constants;
    const __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128((__m128i *)words), 0xB1);
    const __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((__m128i *)(words + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(cdab, efgh, 8);
    __m128i cdgh = _mm_blend_epi16(efgh, cdab, 0xF0);

    for (; block_count > 0; block_count--, data += DTR_SHA256_BLOCK_SIZE) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w0 = load_words(data), w1 = load_words(data + 16);
        __m128i w2 = load_words(data + 32), w3 = load_words(data + 48);

        for (unsigned i = 0; i < 48; i += 16) {
            apply_four_rounds(&abef, &cdgh, w0, k + i);
            w0 = extend_schedule(w0, w1, w2, w3);
            apply_four_rounds(&abef, &cdgh, w1, k + i + 4);
            w1 = extend_schedule(w1, w2, w3, w0);
            apply_four_rounds(&abef, &cdgh, w2, k + i + 8);
            w2 = extend_schedule(w2, w3, w0, w1);
            apply_four_rounds(&abef, &cdgh, w3, k + i + 12);
            w3 = extend_schedule(w3, w0, w1, w2);
        }
        apply_four_rounds(&abef, &cdgh, w0, k + 48);
        apply_four_rounds(&abef, &cdgh, w1, k + 52);
        apply_four_rounds(&abef, &cdgh, w2, k + 56);
        apply_four_rounds(&abef, &cdgh, w3, k + 60);
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }

    const __m128i feba = _mm_shuffle_epi32(abef, 0x1B), dchg = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)words, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)(words + 4), _mm_alignr_epi8(dchg, feba, 8));
}

#else
typedef int dtr_sha256_shani_not_built;
#endif
