/* Chunked transfer coding: framing octet by octet, chunk data in blocks. */
#include "chunked.h"

#include "octets.h"

#include <string.h>

static int step_size(dtr_chunked *decoder, uint8_t octet)
{
    const int digit = dtr_octet_hex(octet);

    if (digit >= 0) {
        if (decoder->digit_count == DTR_CHUNKED_DIGIT_COUNT_MAX || decoder->chunk_left >> 59)
            return DTR_CHUNKED_BAD_SIZE;
        decoder->digit_count++;
        decoder->chunk_left = decoder->chunk_left << 4 | (unsigned)digit;
        return DTR_CHUNKED_OK;
    }
    if (decoder->digit_count == 0)
        return DTR_CHUNKED_BAD_SIZE;
    if (octet == ';' || octet == ' ' || octet == '\t')
        return DTR_CHUNKED_EXTENSION;
    if (octet != '\r')
        return octet == '\n' ? DTR_CHUNKED_BAD_LINE_END : DTR_CHUNKED_BAD_SIZE;
    decoder->digit_count = 0;
    decoder->state = DTR_CHUNKED_SIZE_LF;
    return DTR_CHUNKED_OK;
}

/* Takes the LF after a CR; `next` is the state after it. */
static int step_line_feed(dtr_chunked *decoder, uint8_t octet, int next)
{
    decoder->state = next;
    return octet == '\n' ? DTR_CHUNKED_OK : DTR_CHUNKED_BAD_LINE_END;
}

static int step_trailer_name(dtr_chunked *decoder, uint8_t octet)
{
    if (octet == ':' && decoder->state == DTR_CHUNKED_TRAILER_NAME)
        decoder->state = DTR_CHUNKED_TRAILER_VALUE;
    else if (dtr_octet_classes[octet] & DTR_OCTET_TOKEN)
        decoder->state = DTR_CHUNKED_TRAILER_NAME;
    else
        return DTR_CHUNKED_BAD_TRAILER;
    return DTR_CHUNKED_OK;
}

static int step_trailer(dtr_chunked *decoder, uint8_t octet)
{
    if (decoder->state == DTR_CHUNKED_TRAILER_START && octet == '\r') {
        decoder->state = DTR_CHUNKED_END_LF;
        return DTR_CHUNKED_OK;
    }
    if (++decoder->trailer_size > DTR_CHUNKED_TRAILER_SIZE_MAX)
        return DTR_CHUNKED_TRAILER_TOO_LARGE;
    if (decoder->state == DTR_CHUNKED_TRAILER_LF)
        return step_line_feed(decoder, octet, DTR_CHUNKED_TRAILER_START);
    if (decoder->state != DTR_CHUNKED_TRAILER_VALUE)
        return step_trailer_name(decoder, octet);
    if (octet == '\r')
        decoder->state = DTR_CHUNKED_TRAILER_LF;
    else if (octet == '\n')
        return DTR_CHUNKED_BAD_LINE_END;
    else if (!(dtr_octet_classes[octet] & DTR_OCTET_VALUE))
        return DTR_CHUNKED_BAD_TRAILER;
    return DTR_CHUNKED_OK;
}

/* Takes one octet that is not chunk data. */
static int step_octet(dtr_chunked *decoder, uint8_t octet)
{
    switch (decoder->state) {
    case DTR_CHUNKED_SIZE:
        return step_size(decoder, octet);
    case DTR_CHUNKED_SIZE_LF:
        return step_line_feed(decoder, octet,
                              decoder->chunk_left ? DTR_CHUNKED_DATA : DTR_CHUNKED_TRAILER_START);
    case DTR_CHUNKED_DATA_CR:
        decoder->state = DTR_CHUNKED_DATA_LF;
        return octet == '\r' ? DTR_CHUNKED_OK : DTR_CHUNKED_BAD_LINE_END;
    case DTR_CHUNKED_DATA_LF:
        return step_line_feed(decoder, octet, DTR_CHUNKED_SIZE);
    case DTR_CHUNKED_END_LF:
        return step_line_feed(decoder, octet, DTR_CHUNKED_FINISHED);
    default:
        return step_trailer(decoder, octet);
    }
}

/* Moves as much chunk data as input and output allow. Returns the number of octets. */
static size_t move_data(dtr_chunked *decoder, dtr_chunked_input *input, dtr_chunked_output *output)
{
    const size_t have = input->size - input->consumed, room = output->size - output->produced;
    size_t count = have < room ? have : room;

    if (decoder->chunk_left < count)
        count = (size_t)decoder->chunk_left;
    if (count == 0)
        return 0;
    memmove(output->data + output->produced, input->data + input->consumed, count);
    input->consumed += count;
    output->produced += count;
    decoder->chunk_left -= count;
    if (decoder->chunk_left == 0)
        decoder->state = DTR_CHUNKED_DATA_CR;
    return count;
}

int dtr_chunked_decode(dtr_chunked *decoder, dtr_chunked_input *input, dtr_chunked_output *output)
{
    while (decoder->status == DTR_CHUNKED_OK && input->consumed < input->size &&
           decoder->state != DTR_CHUNKED_FINISHED) {
        if (decoder->state != DTR_CHUNKED_DATA)
            decoder->status = step_octet(decoder, input->data[input->consumed++]);
        else if (move_data(decoder, input, output) == 0)
            break;
    }
    return decoder->status;
}
