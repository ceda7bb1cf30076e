/* Gear hash: table, plain and unrolled search, and the choice of one cut. */
#include "gear.h"

/* gear[b] is the first 8 bytes, big-endian, of SHA-256("dtrfast gear table 1" followed by the
 * byte b). Never change it: stored chunks depend on it. */
const uint64_t dtr_gear_table[256] = {
    0x2c285720cd749e68, 0x13d868f4cba52af4, 0x183df902e57e6ce8, 0xaa38392be96c0fc5,
    0x581e23104d035816, 0x0d2b0cf9d67851c4, 0x1444ca246b4ab515, 0xf994925055fded37,
    0x3e0a8e24e5224fb2, 0x1de5c2bf596815de, 0xb3f85c00888361e4, 0xc9666d6cc62d7eb6,
    0x55add9d0aa1abbe5, 0x637ebba49170a3ce, 0x7d0b6aabf8eb1e51, 0x0bfc0c3c01bc8ceb,
    0x8b05c87d77d82411, 0xa5f4f42b78722285, 0x9a97eafe991e032b, 0xf13e9e9c91805464,
    0x3411405ff67c40e9, 0x05ef52b10baacb18, 0x1f2a0ce6c76ceb5b, 0x47b1ee5166503ab2,
    0x414c0c45acde4f8f, 0xcb71e1ce3967d0e9, 0xac75cb276a51498a, 0xe6a9a1fb0d6a6ee3,
    0x2ef1e323d3c0c62a, 0xbf0c6ab220516732, 0xa53d9f6c958682c2, 0x44a06819205ae784,
    0x52a9858d56eb03d6, 0x58322de442e01f42, 0x629042ea926d7ed2, 0x99f1d7ef5d420f30,
    0xf237390fa38bfaf9, 0x755882cd7e1ab002, 0x8a0087becb65ab12, 0x0c81c7f69e5f31a6,
    0x9c76fb9743440c09, 0x842474a3bba776ec, 0xc561f910cac6ecc1, 0x6b8dc286d6b118d2,
    0x5502988f12b85b19, 0x659d86aaffd56ced, 0x73f01daae440305f, 0x1075465a30093fd9,
    0xe7c263bedf2e4019, 0xd3d6d282138b371e, 0xf3619d2dc2d6d3c8, 0xe692878ffbefbf17,
    0x018243185097460c, 0x99bc2e425ad83ab6, 0x75027c5748df8d73, 0x58073495036179a9,
    0x1302d8111aead1f6, 0x1d58d367f3333fc5, 0x2141bc388aa76469, 0xecec024d7ba20cfe,
    0xe319d244522d923f, 0x57d9b745c3607f05, 0x214abb6f42800c88, 0xdde93be1e2590d74,
    0xd843318521049114, 0x0f0fe2185376e7b4, 0x46ca14a979472038, 0xb1de5386afeb1cb7,
    0x9b2dd091364b51c8, 0xc50db683b3a3709f, 0x07fcd3ce3d10e856, 0xa6e74133479784c3,
    0x0b98baf091820971, 0x317494bf9cf829e0, 0x4648ebef7ffe53bc, 0x47578b74fd402238,
    0x1da0614adfcafc04, 0x4abf134847e044f1, 0x082add45e30f3b5e, 0xb28ea12f40e1dae0,
    0x1b4927bd5247cc41, 0x1381a623f959cb98, 0xc1b1f7c5a1440a87, 0x09c61d54249330d2,
    0x2e2fd053902a62ce, 0x890e96938ff94bfd, 0x9fa52c009ff413da, 0xf4497a9938adf33b,
    0x0e0a44b8060b745c, 0x370836b39f5b908a, 0x94b8c60e957dcaae, 0x3f7b3049477f8f58,
    0x6d98ef0980990190, 0x6fd54e9da54f9fa2, 0xeaf7c44db0ecdfc3, 0xbf2b6a9918fd1f2a,
    0xe4062a4d4930c12e, 0xd00d8d4713908e12, 0xc994932d42419bfe, 0xf8e11b25b3ea4422,
    0xeb05a7255b3f1c46, 0x5a924f6156abcb49, 0xb30cf506afb813c8, 0x628378848d6aff68,
    0x737e931cd7b51620, 0x516b989f6fbad225, 0x7eea3cc50a359fbd, 0xc1c30ff31ebfd460,
    0xc0ca21d252db0e6a, 0x794b47ad8fecec13, 0xa0468dd5265eb8e1, 0xf0efde003b6c81ec,
    0x03b9d91fee5f1251, 0x96f4df9b9598d4b7, 0x630be018d674bb71, 0xd26b3751bab437b0,
    0x1e6c9e07b703d2a1, 0x4c4cfdeb1110d8be, 0x53939d74dab3b29a, 0xb7d1fbddfaf59560,
    0x7881d9ca3384ab17, 0x24789193a3248287, 0x6ea827bf2675c6c4, 0x708f337b21ab97e7,
    0xea9d88175eb77fe4, 0x6abe7c2db6fb129f, 0xda89574ca376a367, 0x69761d09a12c9aa1,
    0xd327cca3f878b7cf, 0x7a06241ef05a8fc9, 0x5f4809b4de25ca3b, 0x5aa3742d2213929e,
    0x8cc54511feb0b7a8, 0x85620e4294f8a683, 0x52364d6a4f174dd3, 0x78a22cc92429141d,
    0xaf1c9701d6b42b25, 0x2312fb315e3d02f5, 0x09a6ceff8450f75b, 0x130081845fdd556d,
    0x9100eaca7ddfe2ed, 0x6a7110c4febcd524, 0x4f47137a5da56d52, 0xfb17b21214827c9c,
    0x65b3fc780f132bc1, 0xd5d41793f58c744e, 0xee4c00d57cd6e6e6, 0x5d9352e8a02585e6,
    0x7c2cc7200bcb4c03, 0x6b32ab36d845ae21, 0xda290e0027c283a0, 0x39a94445560f2aba,
    0x1f25774f706d8244, 0xea7bdeb9c80dc78d, 0xa6316c5643a89f3d, 0x1b0367c093272afc,
    0x1a2ef94ed4b26b68, 0x5ced2268bbb2f002, 0xaa42216634f3f35c, 0xb055c2a774f17a40,
    0x53f8bbc4e86fa2fd, 0xc30bc8195db118de, 0x09929cdf53d21a6b, 0xc87b53999ba356e2,
    0x31b1a8e472bfc05e, 0xad48a02acbfe46a0, 0x047487affc5e9ed7, 0x049a6a4277264575,
    0x3b5b5daaa0e6de4c, 0x3083c5cebdec7260, 0xc538218c91b6ca4d, 0x784965c8228396af,
    0xf0c7f183a1212556, 0xa896823bcd191298, 0x6d3853597141579f, 0x9de8ed094a24fdb2,
    0x4620f25bbbe7e5bd, 0x325423ac203141e0, 0xd679aed69899b177, 0xaa4146398964b86f,
    0x73a5405cd88f6edb, 0xde7c001b08f5b4ba, 0x26677fdaba2df7d0, 0xf25f15e12edf4d7e,
    0x6737afafdd7f888d, 0xb9524fd5a8973a9d, 0x6b9bf224f790458e, 0x03c0df24af50da09,
    0xa680e1865bcc5c3b, 0x8f0f752fab2fcaf6, 0x9017166b767440fc, 0x5249b8320e334b3c,
    0xe60ba68b2374985f, 0xe0489170680d9447, 0xc8245946cd2ab964, 0x5b4ac1d35458e5cc,
    0x17436395ddb279dc, 0x4bd5bc92bd804f5a, 0xfe418f05e2ff47e8, 0x1ac397a572a85ed4,
    0xa67698b8ce0dc1e7, 0x24a5c7d2b63dedb8, 0xbfcecb04a275e02a, 0x1943883547596465,
    0x4ed6fb26edd639f1, 0x3f50686dc4c61e8c, 0x2c224d14d7cb7e98, 0x64e335b487d1902f,
    0x60540efcca98c53f, 0x1abaee977311576c, 0xbe2b5caa2028e1bb, 0xe41f7d34eb40c9fb,
    0xf2c41c5d5d5099a3, 0xc24d1ad32a0c1358, 0xe49ac9ef5fd6b8fe, 0x9254e33daed4a5b2,
    0xefd3757b1d77b88a, 0xcf429664019ebafe, 0x96328572b4ccd490, 0xbd06a3de79a74998,
    0x39d04bb7cbc38898, 0x83a1efbbab964af5, 0xf3da6e0c2a0968f7, 0x32c60509610c1f5f,
    0xcf9514c7db6378ea, 0xee8f600a17be6d52, 0xb1172214a9e72994, 0x4981676adbd36e95,
    0x762b7916d3e69bfe, 0xdd0353d2bd5506b7, 0xfbc9e124dd87e0e5, 0x9b4a60a8d2d66fbd,
    0x7078605cca476cd8, 0x61bbc608cf2cc5fe, 0xef15e883684dff50, 0x59ff0f495913025f,
    0x2f0b57195ba206c4, 0x83a317cf412500ac, 0xf28d436a30414ac5, 0x969ee56cfe1661a5,
    0x86cd05d731a03fb1, 0xfa04c3feff0b3cce, 0xa5b44009a1e4e676, 0x52c7e75d88e29d66,
    0x5e8bcf09d2f26431, 0x8c743e545a048c03, 0x34553313852c55a0, 0x7e5cef968d473847,
    0xc427aba8304d37b3, 0x2c9d6a3d5a69ab54, 0xed59c8792ac409c8, 0xc981eaa0e7cd3f31,
    0xb2906bb1810ab7f3, 0x394db2ccceaf0f31, 0x80f3d613af1edf99, 0x5c2f2ecab1ff8a95,
};

static uint64_t hash_window(const uint8_t *data, size_t end)
{
    uint64_t hash = 0;

    for (size_t i = end - DTR_GEAR_WINDOW_SIZE; i < end; i++)
        hash = (hash << 1) + dtr_gear_table[data[i]];
    return hash;
}

size_t dtr_gear_find_reference(const uint8_t *data, size_t first, size_t last, uint64_t threshold)
{
    uint64_t hash = hash_window(data, first);
    size_t end = first;

    while (hash >= threshold) {
        if (end == last)
            return 0;
        hash = (hash << 1) + dtr_gear_table[data[end++]];
    }
    return end;
}

/* Rolls the hash over four bytes. Returns the first of the four ends, 1 to 4, whose hash is below
 * the threshold, or 0. The sums b, c and d do not depend on the hash, so the dependency chain has
 * only one shift and one addition for four bytes. */
static inline size_t find_in_four(const uint8_t *data, uint64_t *hash, uint64_t threshold)
{
    const uint64_t a = dtr_gear_table[data[0]];
    const uint64_t b = (a << 1) + dtr_gear_table[data[1]];
    const uint64_t c = (b << 1) + dtr_gear_table[data[2]];
    const uint64_t d = (c << 1) + dtr_gear_table[data[3]];
    const uint64_t before = *hash;

    *hash = (before << 4) + d;
    if ((before << 1) + a < threshold)
        return 1;
    if ((before << 2) + b < threshold)
        return 2;
    if ((before << 3) + c < threshold)
        return 3;
    return *hash < threshold ? 4 : 0;
}

size_t dtr_gear_find_unrolled(const uint8_t *data, size_t first, size_t last, uint64_t threshold)
{
    uint64_t hash = hash_window(data, first);
    size_t end = first;

    if (hash < threshold)
        return first;
    for (; last - end >= 8; end += 8) {
        const size_t near = find_in_four(data + end, &hash, threshold);
        if (near > 0)
            return end + near;
        const size_t far = find_in_four(data + end + 4, &hash, threshold);
        if (far > 0)
            return end + 4 + far;
    }
    while (end < last) {
        hash = (hash << 1) + dtr_gear_table[data[end++]];
        if (hash < threshold)
            return end;
    }
    return 0;
}

void dtr_gear_limits_init(dtr_gear_limits *limits, size_t size_min, size_t size_average,
                          size_t size_max)
{
    const uint64_t threshold = UINT64_MAX / size_average + 1;

    limits->size_min = size_min;
    limits->size_average = size_average;
    limits->size_max = size_max;
    limits->threshold_early = threshold / 4;
    limits->threshold_late = threshold * 4;
}

size_t dtr_gear_cut(const dtr_gear_limits *limits, dtr_gear_find *find, const uint8_t *data,
                    size_t size, size_t scanned)
{
    const size_t last = size < limits->size_max ? size : limits->size_max;
    size_t first = scanned < limits->size_min ? limits->size_min : scanned + 1;
    size_t end = 0;

    if (first < limits->size_average && first <= last) {
        const size_t early = last < limits->size_average ? last : limits->size_average - 1;
        end = find(data, first, early, limits->threshold_early);
        first = early + 1;
    }
    if (end == 0 && first <= last)
        end = find(data, first, last, limits->threshold_late);
    if (end == 0 && last == limits->size_max)
        end = last;
    return end;
}
