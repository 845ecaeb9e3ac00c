// Centring and scaling of samples: how they are cut into pieces for the threads and into tiles for the caches. The
// conversion from bytes and the move of the channels from the last axis to the first are done with each tile, so that
// memory is read once and written once.
#include "preprocessing/standardize_kernels.h"
#include "runtime/sizes.h"
#include "runtime/streaming.h"
#include "runtime/workspace.h"

enum {
    TILE_ELEMENTS = 2048,    // of a channel, with its scratch in L1
    CHUNK_BYTES = 16384,     // of pixels, from which one channel after another is taken
    SPAN_ELEMENTS = 4096,    // of a channel, whose statistics stay in cache for all samples of a piece
    PIECE_ELEMENTS = 65536,  // of y
};

typedef struct {
    const fastnn_standardization *call;
    const fastnn_standardize_table *table;
    const fastnn_table *elementwise;
    const char *x;
    char *y;
    size_t size, x_size;             // bytes of an element
    size_t x_bytes;                  // of x
    size_t tile, span, spans, rows;  // elements of a channel in a tile and in a piece; pieces beside each other;
                                     // samples of a piece
    bool stream;
} standardize_job;

// Elements first ... first + n - 1 of a channel of a sample.
static void run_tile(const standardize_job *job, size_t sample, size_t channel, size_t first, size_t n, char *scratch) {
    const fastnn_standardization *s = job->call;
    const size_t row = sample * s->channels + channel, at = s->each ? channel * s->inner + first : channel;
    const void *statistics[] = {(const char *)s->mean + at * job->size, (const char *)s->mean_low + at * job->size,
                                (const char *)s->factor + at * job->size};
    char *y = job->y + (row * s->inner + first) * job->size, *to = job->stream ? scratch : y;
    fastnn_form form = s->bytes ? BYTES : REALS;
    const size_t before =
        s->channels_last ? (sample * s->inner + first) * s->channels + channel : row * s->inner + first;
    const char *x = job->x + before * job->x_size;
    const size_t readable = job->x_bytes - before * job->x_size;
    if (s->channels_last && s->bytes && s->channels <= MOST_CHANNELS) {
        form = PIXELS;
    } else if (s->channels_last) {
        char *taken = scratch + TILE_ELEMENTS * job->size;
        job->table->take_channel[s->bytes](n, s->channels, taken, x);
        x = taken;
    }
    job->table->standardize[form][s->each](n, to, x, s->channels, readable, statistics);
    if (job->stream) fastnn_stream_tile(job->elementwise, job->size, n, y, to);
}

static void run_piece(const void *context, size_t index) {
    const standardize_job *job = context;
    const fastnn_standardization *s = job->call;
    const size_t start = index % job->spans * job->span, end = smaller(start + job->span, s->inner);
    const size_t sample = index / job->spans * job->rows, samples = smaller(sample + job->rows, s->samples);
    char *scratch = fastnn_borrow(2 * TILE_ELEMENTS * job->size);
    for (size_t i = sample; i < samples; i++)
        for (size_t first = start; first < end; first += job->tile)
            for (size_t channel = 0; channel < s->channels; channel++)
                run_tile(job, i, channel, first, smaller(job->tile, end - first), scratch);
    fastnn_give_back(scratch);
    if (job->stream) fastnn_finish_streaming();
}

fastnn_outcome fastnn_standardize(const fastnn_standardization *s, const void *x, void *y) {
    const size_t count = s->samples * s->channels * s->inner;
    if (count == 0) return FASTNN_DONE;
    const size_t size = s->float64 ? 8 : 4, x_size = s->bytes ? 1 : size;
    const fastnn_tables *tables = fastnn_current(s->float64);
    standardize_job job = {
        .call = s,
        .table = tables->standardize,
        .elementwise = tables->elementwise,
        .x = x,
        .y = y,
        .size = size,
        .x_size = x_size,
        .x_bytes = count * x_size,
        .tile = TILE_ELEMENTS,
        .span = smaller(SPAN_ELEMENTS, s->inner),
        // What is converted from bytes is nearly all writing, and pays as soon as the output alone fills a cache; from
        // floats it is a mere copy, which is as fast without.
        .stream = s->bytes && fastnn_should_stream(3 * count * size, y, size, &x, 1),
    };
    job.spans = divided_up(s->inner, job.span);
    job.rows = larger(PIECE_ELEMENTS / (job.span * s->channels), 1);
    if (s->channels_last) job.tile = larger(smaller(TILE_ELEMENTS, CHUNK_BYTES / (s->channels * x_size)), LINE);
    return fastnn_parallel(job.spans * divided_up(s->samples, job.rows), run_piece, &job);
}
