// Maxout: each output is the largest of k inputs, its candidates. Which of them won is kept for backward as bit planes,
// ceil(log2 k) bits an output.
#include <string.h>

#include "runtime/sizes.h"
#include "runtime/tiles.h"

typedef struct {
    const fastnn_table *table;
    fastnn_kernel *kernel;
    int bits;
    size_t size;             // of an element
    size_t k, count, piece;  // candidates of an output; outputs; outputs in a piece
    fastnn_view candidates;  // the first of each output's k; number j lies j * candidate_bytes later
    size_t candidate_bytes;
    char *y;          // dy in backward
    uint8_t *planes;  // bit plane b is plane_bytes * b bytes behind the first
    size_t plane_bytes;
} maxout_job;

static maxout_job make_job(bool float64, size_t outer, size_t groups, size_t k, size_t inner, const void *x,
                           const void *y, int bits, const uint8_t *planes) {
    const ptrdiff_t size = float64 ? 8 : 4, row = (ptrdiff_t)inner * size, group = (ptrdiff_t)k * row;
    const size_t count = outer * groups * inner;
    maxout_job job = {
        .table = fastnn_current_table(float64),
        .bits = bits,
        .size = (size_t)size,
        .k = k,
        .count = count,
        .piece = fastnn_piece_elements(count),
        .candidate_bytes = (size_t)row,
        .y = (char *)y,
        .planes = (uint8_t *)planes,
        .plane_bytes = divided_up(count, 8),
    };
    const fastnn_operand operand = {.data = (char *)x, .dtype = float64 ? FASTNN_FLOAT64 : FASTNN_FLOAT32};
    fastnn_make_view(&job.candidates, &operand, float64, 3, (size_t[]){outer, groups, inner},
                     (ptrdiff_t[]){group * (ptrdiff_t)groups, group, size});
    return job;
}

static fastnn_view candidate(const maxout_job *job, size_t j) {
    fastnn_view view = job->candidates;
    view.operand.data += j * job->candidate_bytes;
    return view;
}

static uint8_t *plane_at(const maxout_job *job, int bit, size_t first) {
    return job->planes + (size_t)bit * job->plane_bytes + first / 8;
}

static void forward_tile(const maxout_job *job, size_t first, size_t count) {
    _Alignas(LINE) char scratch[TILE_BYTES], winners[TILE_BYTES];
    char *best = job->y + first * job->size;
    const void *start = fastnn_gather(job->table, &job->candidates, first, count, scratch);
    memcpy(best, start, count * job->size);
    memset(winners, 0, count * job->size);
    for (size_t j = 1; j < job->k; j++) {
        const fastnn_view view = candidate(job, j);
        const void *in[] = {best, winners, fastnn_gather(job->table, &view, first, count, scratch)};
        job->kernel(count, (void *[]){best, winners}, in, (double[]){(double)j, 0});
    }
    for (int bit = job->bits - 1; bit >= 0; bit--)
        job->table->take_bit(count, winners, 1 << bit, plane_at(job, bit, first));
}

static void backward_tile(const maxout_job *job, size_t first, size_t count) {
    _Alignas(LINE) char scratch[TILE_BYTES], winners[TILE_BYTES];
    const char *dy = job->y + first * job->size;
    memset(winners, 0, count * job->size);
    for (int bit = 0; bit < job->bits; bit++) job->table->add_bit(count, winners, 1 << bit, plane_at(job, bit, first));
    if (job->candidate_bytes == job->size) {  // an output's candidates lie side by side
        char *dx = job->candidates.operand.data + first * job->k * job->size;
        job->table->spread_to_winners(count, job->k, dx, dy, winners);
        return;
    }
    for (size_t j = 0; j < job->k; j++) {
        const fastnn_view view = candidate(job, j);
        void *dx = fastnn_target(&view, first, count, scratch);
        job->kernel(count, &dx, (const void *[]){dy, winners}, (double[]){(double)j, 0});
        fastnn_scatter(job->table, &view, first, count, dx);
    }
}

static void for_tiles(const maxout_job *job, size_t index, void (*run)(const maxout_job *, size_t, size_t)) {
    const size_t first = index * job->piece, end = smaller(first + job->piece, job->count);
    for (size_t i = first; i < end; i += TILE_ELEMENTS) run(job, i, smaller(TILE_ELEMENTS, end - i));
}
static void forward_piece(const void *context, size_t index) { for_tiles(context, index, forward_tile); }
static void backward_piece(const void *context, size_t index) { for_tiles(context, index, backward_tile); }

fastnn_outcome fastnn_maxout(bool float64, size_t outer, size_t groups, size_t k, size_t inner, const void *x, void *y,
                             int bits, uint8_t *planes) {
    if (outer * groups * inner == 0) return FASTNN_DONE;
    maxout_job job = make_job(float64, outer, groups, k, inner, x, y, bits, planes);
    job.kernel = job.table->kernels[KERNEL_maxout_step];
    return fastnn_parallel(divided_up(job.count, job.piece), forward_piece, &job);
}

fastnn_outcome fastnn_maxout_backward(bool float64, size_t outer, size_t groups, size_t k, size_t inner, const void *dy,
                                      int bits, const uint8_t *planes, void *dx) {
    if (outer * groups * inner == 0) return FASTNN_DONE;
    maxout_job job = make_job(float64, outer, groups, k, inner, dx, dy, bits, planes);
    job.kernel = job.table->kernels[KERNEL_maxout_backward];
    return fastnn_parallel(divided_up(job.count, job.piece), backward_piece, &job);
}
