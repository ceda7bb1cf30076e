/* The list of encoders. */
#include "replay.h"

#include "go_best_speed.h"
#include "go_default.h"
#include "klauspost.h"
#include "zlib_encoders.h"

static const dtr_encoder encoders[] = {
    {DTR_ID_GO_DEFAULT, "go-default", DTR_GO_DEFAULT_HISTORY, DTR_GO_DEFAULT_LOOKAHEAD,
     dtr_go_default_run},
    {DTR_ID_GO_BEST_SPEED, "go-best-speed", DTR_GO_BEST_SPEED_HISTORY, DTR_GO_BEST_SPEED_LOOKAHEAD,
     dtr_go_best_speed_run},
    {DTR_ID_PGZIP_K2, "pgzip-k2", DTR_PGZIP_HISTORY, 0, dtr_pgzip_run_k2},
    {DTR_ID_PGZIP_K1, "pgzip-k1", DTR_PGZIP_HISTORY, 0, dtr_pgzip_run_k1},
    {DTR_ID_PGZIP_K3, "pgzip-k3", DTR_PGZIP_HISTORY, 0, dtr_pgzip_run_k3},
    {DTR_ID_GO127_DEFAULT, "go127-default", DTR_GO127_HISTORY, 0, dtr_go127_run_default},
    {DTR_ID_GO127_BEST_SPEED, "go127-best-speed", DTR_GO127_HISTORY, 0, dtr_go127_run_best_speed},
    {DTR_ID_PGZIP_K2A, "pgzip-k2a", DTR_PGZIP_HISTORY, 0, dtr_pgzip_run_k2a},
    {DTR_ID_ZLIB, "zlib", DTR_ZLIB_HISTORY, DTR_ZLIB_LOOKAHEAD, dtr_zlib_run},
    {DTR_ID_GNU_GZIP, "gnu-gzip", DTR_GNU_GZIP_HISTORY, DTR_ZLIB_LOOKAHEAD, dtr_gnu_gzip_run},
    {DTR_ID_PIGZ, "pigz", DTR_ZLIB_HISTORY, 0, dtr_pigz_run},
    {0, "", 0, 0, NULL},
};

const dtr_encoder *dtr_encoder_at(size_t index)
{
    return index + 1 < sizeof encoders / sizeof encoders[0] ? &encoders[index] : NULL;
}

const dtr_encoder *dtr_encoder_find(uint32_t id)
{
    const dtr_encoder *encoder = encoders;

    while (encoder->run != NULL && encoder->id != id)
        encoder++;
    return encoder->run != NULL ? encoder : NULL;
}
