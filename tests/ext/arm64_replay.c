/* Encodes stdin with the encoder of the argument, to stdout (test_replay_arm64.py). */
#include "replay.h"

#include <stdio.h>
#include <stdlib.h>

#define SIZE_MAX_PLAIN (4 << 20)

int main(int count, char **arguments)
{
    static uint8_t plain[SIZE_MAX_PLAIN], out[2 * SIZE_MAX_PLAIN];
    static dtr_replay run = {
        .plain = plain, .stop = UINT64_MAX, .out = out, .out_capacity = sizeof out};
    const dtr_encoder *encoder = count == 2 ? dtr_encoder_find((uint32_t)atoi(arguments[1])) : NULL;

    if (encoder == NULL)
        return 2;
    run.end = run.total = fread(plain, 1, sizeof plain, stdin);
    if (encoder->run(&run) != DTR_REPLAY_ENDED)
        return 1;
    return fwrite(out, 1, run.out_size, stdout) == run.out_size ? 0 : 1;
}
