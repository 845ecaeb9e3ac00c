// Maxout over k pieces and its winners, which are kept as bit planes: ceil(log2 k) bits an element.
#include <string.h>

#include "runtime/sizes.h"
#include "runtime/tiles.h"

typedef struct {
    const fastnn_table *table;
    int kernel, bits;
    size_t size;  // of an element
    size_t k, count, piece, piece_bytes;
    fastnn_view pieces;  // the first of the k pieces; piece j starts j * piece_bytes later
    char *y;             // dy in backward
    uint8_t *planes;
} maxout_job;

static maxout_job make_job(bool float64, size_t outer, size_t groups, size_t k, size_t inner, const void *x,
                           const void *y, int bits, const uint8_t *planes) {
    const ptrdiff_t size = float64 ? 8 : 4, row = (ptrdiff_t)inner * size, group = (ptrdiff_t)k * row;
    maxout_job job = {
        .table = fastnn_current_table(float64),
        .bits = bits,
        .size = (size_t)size,
        .k = k,
        .count = outer * groups * inner,
        .piece = fastnn_piece_elements(outer * groups * inner),
        .piece_bytes = (size_t)row,
        .y = (char *)y,
        .planes = (uint8_t *)planes,
    };
    const fastnn_operand operand = {.data = (char *)x, .dtype = float64 ? FASTNN_FLOAT64 : FASTNN_FLOAT32};
    fastnn_make_view(&job.pieces, &operand, float64, 3, (size_t[]){outer, groups, inner},
                     (ptrdiff_t[]){group * (ptrdiff_t)groups, group, size});
    return job;
}

static fastnn_view piece_view(const maxout_job *job, size_t j) {
    fastnn_view view = job->pieces;
    view.operand.data += j * job->piece_bytes;
    return view;
}

static uint8_t *plane_at(const maxout_job *job, int bit, size_t first) {
    return job->planes + (size_t)bit * ((job->count + 7) / 8) + first / 8;
}

static void forward_tile(const maxout_job *job, size_t first, size_t count) {
    _Alignas(64) char scratch[TILE_BYTES], winners[TILE_BYTES];
    char *best = job->y + first * job->size;
    const void *start = fastnn_gather(job->table, &job->pieces, first, count, scratch);
    memcpy(best, start, count * job->size);
    memset(winners, 0, count * job->size);
    for (size_t j = 1; j < job->k; j++) {
        const fastnn_view view = piece_view(job, j);
        const void *in[] = {best, winners, fastnn_gather(job->table, &view, first, count, scratch)};
        job->table->kernels[job->kernel](count, (void *[]){best, winners}, in, (double[]){(double)j, 0});
    }
    for (int bit = job->bits - 1; bit >= 0; bit--)
        job->table->take_bit(count, winners, 1 << bit, plane_at(job, bit, first));
}

// Where the k pieces of an element lie side by side, dx is 0 but for one store an element.
#define STORE_AT_WINNERS(T) \
    for (size_t i = 0; i < count; i++) ((T *)dx)[i * job->k + (size_t)((const T *)winners)[i]] = ((const T *)dy)[i];
static void store_at_winners(const maxout_job *job, size_t first, size_t count, const void *winners) {
    char *dx = job->pieces.operand.data + first * job->k * job->size;
    const char *dy = job->y + first * job->size;
    memset(dx, 0, count * job->k * job->size);
    if (job->size == 8) {
        STORE_AT_WINNERS(double)
    } else {
        STORE_AT_WINNERS(float)
    }
}

static void backward_tile(const maxout_job *job, size_t first, size_t count) {
    _Alignas(64) char scratch[TILE_BYTES], winners[TILE_BYTES];
    memset(winners, 0, count * job->size);
    for (int bit = 0; bit < job->bits; bit++) job->table->add_bit(count, winners, 1 << bit, plane_at(job, bit, first));
    if (job->piece_bytes == job->size) {
        store_at_winners(job, first, count, winners);
        return;
    }
    for (size_t j = 0; j < job->k; j++) {
        const fastnn_view view = piece_view(job, j);
        void *dx = fastnn_target(&view, first, count, scratch);
        const void *in[] = {job->y + first * job->size, winners};
        job->table->kernels[job->kernel](count, &dx, in, (double[]){(double)j, 0});
        fastnn_scatter(job->table, &view, first, count, dx);
    }
}

static void for_tiles(const maxout_job *job, size_t index, void (*run)(const maxout_job *, size_t, size_t)) {
    const size_t first = index * job->piece;
    const size_t end = first + job->piece < job->count ? first + job->piece : job->count;
    for (size_t i = first; i < end; i += TILE_ELEMENTS) run(job, i, end - i < TILE_ELEMENTS ? end - i : TILE_ELEMENTS);
}
static void forward_piece(const void *context, size_t index) { for_tiles(context, index, forward_tile); }
static void backward_piece(const void *context, size_t index) { for_tiles(context, index, backward_tile); }

bool fastnn_maxout(bool float64, size_t outer, size_t groups, size_t k, size_t inner, const void *x, void *y, int bits,
                   uint8_t *planes) {
    maxout_job job = make_job(float64, outer, groups, k, inner, x, y, bits, planes);
    job.kernel = fastnn_find_kernel("maxout_step");
    return fastnn_parallel(divided_up(job.count, job.piece), forward_piece, &job);
}

bool fastnn_maxout_backward(bool float64, size_t outer, size_t groups, size_t k, size_t inner, const void *dy, int bits,
                            const uint8_t *planes, void *dx) {
    maxout_job job = make_job(float64, outer, groups, k, inner, dx, dy, bits, planes);
    job.kernel = fastnn_find_kernel("maxout_backward");
    return fastnn_parallel(divided_up(job.count, job.piece), backward_piece, &job);
}
