// Elementwise maps: arrays are cut into pieces for the threads and tiles for the caches, in a way that depends on the
// size alone. Kernels see contiguous memory of one dtype; strides, half types, generated inputs and streaming stores
// are dealt with here.
#include "runtime/sizes.h"
#include "runtime/streaming.h"
#include "runtime/tiles.h"
#include "runtime/workspace.h"

// From how many elements on a call uses several threads, since waking them costs less than it saves. Measured with
// tools/serial_threshold.py.
static const size_t serial_elements[] = {[FASTNN_CHEAP] = 98304, [FASTNN_MEDIUM] = 16384, [FASTNN_COSTLY] = 8192};

// ---- contiguous arrays ---------------------------------------------------------------------------------------------

typedef struct {
    const fastnn_table *table;
    fastnn_kernel *kernel;
    int outputs, inputs;
    size_t size;  // of an element
    size_t count, piece;
    bool stream;
    char *const *data;  // outputs, then inputs
    const double *parameters;
} contiguous_job;

static void run_kernel(const contiguous_job *job, size_t first, size_t count, void *const *outputs) {
    void *out[FASTNN_MAX_OUTPUTS];
    const void *in[FASTNN_MAX_INPUTS];
    for (int k = 0; k < job->outputs; k++) out[k] = outputs ? outputs[k] : job->data[k] + first * job->size;
    for (int k = 0; k < job->inputs; k++) in[k] = job->data[job->outputs + k] + first * job->size;
    job->kernel(count, out, in, job->parameters);
}

static void run_streaming(const contiguous_job *job, size_t first, size_t count) {
    _Alignas(LINE) char scratch[FASTNN_MAX_OUTPUTS][TILE_BYTES];
    void *tiles[] = {scratch[0], scratch[1]};
    for (size_t i = first, end = first + count, tile; i < end; i += tile) {
        tile = smaller(fastnn_streamed_elements(job->data[0] + i * job->size, job->size, TILE_ELEMENTS), end - i);
        run_kernel(job, i, tile, tiles);
        for (int k = 0; k < job->outputs; k++)
            fastnn_stream_tile(job->table, job->size, tile, job->data[k] + i * job->size, tiles[k]);
    }
    fastnn_finish_streaming();
}

static void run_contiguous_piece(const void *context, size_t index) {
    const contiguous_job *job = context;
    const size_t first = index * job->piece, left = job->count - first;
    const size_t count = left < job->piece ? left : job->piece;
    if (job->stream)
        run_streaming(job, first, count);
    else
        run_kernel(job, first, count, NULL);
}

// Streaming pays where a kernel reads more than it writes, or computes meanwhile: a mere copy was as fast without, and
// on some pages slower. The lines of two outputs must start together, since both are cut into the same tiles.
static bool should_stream(const contiguous_job *job, const fastnn_kernel_shape *shape) {
    if (shape->inputs <= shape->outputs && shape->cost == FASTNN_CHEAP) return false;
    const size_t bytes = job->count * job->size * (size_t)(job->outputs + job->inputs);
    const void *const *inputs = (const void *const *)(job->data + job->outputs);
    for (int k = 0; k < job->outputs; k++) {
        if (!fastnn_should_stream(bytes, job->data[k], job->size, inputs, job->inputs)) return false;
        if (((uintptr_t)job->data[k] - (uintptr_t)job->data[0]) % LINE != 0) return false;
    }
    return true;
}

fastnn_outcome fastnn_run_contiguous(int kernel, bool float64, size_t count, void *const *data,
                                     const double *parameters) {
    const fastnn_kernel_shape *shape = &fastnn_kernel_shapes[kernel];
    const fastnn_table *table = fastnn_current_table(float64);
    contiguous_job job = {
        .table = table,
        .kernel = table->kernels[kernel],
        .outputs = shape->outputs,
        .inputs = shape->inputs,
        .size = float64 ? 8 : 4,
        .count = count,
        .piece = count,
        .data = (char *const *)data,
        .parameters = parameters,
    };
    if (count < serial_elements[shape->cost]) {
        if (count > 0) run_kernel(&job, 0, count, NULL);
        return FASTNN_DONE;
    }
    job.piece = fastnn_piece_elements(count);
    job.stream = should_stream(&job, shape);
    return fastnn_parallel(divided_up(count, job.piece), run_contiguous_piece, &job);
}

// ---- strided arrays, half types, generated inputs ------------------------------------------------------------------

enum { MAX_OPERANDS = FASTNN_MAX_OUTPUTS + FASTNN_MAX_INPUTS };

typedef struct {
    const fastnn_map *map;
    const fastnn_table *table;
    fastnn_view views[MAX_OPERANDS];
    size_t count, piece;
} strided_job;

static void run_tile(const strided_job *job, size_t first, size_t count) {
    const fastnn_map *map = job->map;
    const fastnn_view *inputs = job->views + map->outputs;
    char (*const scratch)[TILE_BYTES] = fastnn_borrow(MAX_OPERANDS * TILE_BYTES);
    void *out[FASTNN_MAX_OUTPUTS];
    const void *in[FASTNN_MAX_INPUTS];
    for (int k = 0; k < map->inputs; k++)
        in[k] = fastnn_gather(job->table, &inputs[k], first, count, scratch[map->outputs + k]);
    for (int k = 0; k < map->outputs; k++) out[k] = fastnn_target(&job->views[k], first, count, scratch[k]);
    job->table->kernels[map->kernel](count, out, in, map->parameters);
    for (int k = 0; k < map->outputs; k++) fastnn_scatter(job->table, &job->views[k], first, count, out[k]);
    fastnn_give_back(scratch);
}

// Computes elements from `first` on in place, if they are in place for all operands and not too few to be worth it.
// Returns how many elements it computed, at most `most`; 0: none.
static size_t run_row(const strided_job *job, size_t first, size_t most) {
    enum { LEAST_ROW = 64 };
    const fastnn_map *map = job->map;
    void *at[MAX_OPERANDS];
    size_t row = most;
    for (int k = 0; k < map->outputs + map->inputs; k++) {
        const size_t run = fastnn_row(&job->views[k], first, &at[k]);
        if (run < row) row = run;
        if (row < LEAST_ROW) return 0;
    }
    job->table->kernels[map->kernel](row, at, (const void *const *)(at + map->outputs), map->parameters);
    return row;
}

static void run_strided_piece(const void *context, size_t index) {
    const strided_job *job = context;
    const size_t first = index * job->piece;
    const size_t end = first + job->piece < job->count ? first + job->piece : job->count;
    for (size_t i = first, count; i < end; i += count) {
        const size_t most = end - i < TILE_ELEMENTS ? end - i : TILE_ELEMENTS;
        count = run_row(job, i, most);
        if (count == 0) run_tile(job, i, count = most);
    }
}

// Orders the dimensions by the first output's strides, largest first, so that its memory is written from front to back.
// A generated input counts elements in C order, so with one of them the order stays.
static void order_dimensions(const fastnn_map *map, int *order) {
    for (int d = 0; d < map->dims; d++) order[d] = d;
    for (int k = 0; k < map->inputs; k++)
        if (map->operands[map->outputs + k].data == NULL) return;
    const ptrdiff_t *strides = map->operands[0].strides;
    for (int i = 1; i < map->dims; i++) {
        for (int j = i; j > 0; j--) {
            const ptrdiff_t before = strides[order[j - 1]], after = strides[order[j]];
            if ((before < 0 ? -before : before) >= (after < 0 ? -after : after)) break;
            const int dimension = order[j];
            order[j] = order[j - 1];
            order[j - 1] = dimension;
        }
    }
}

fastnn_outcome fastnn_run_map(const fastnn_map *map) {
    strided_job job = {.map = map, .table = fastnn_current_table(map->float64), .count = 1};
    const int operands = map->outputs + map->inputs;
    int order[FASTNN_MAX_DIMS];
    size_t shape[FASTNN_MAX_DIMS];
    order_dimensions(map, order);
    for (int d = 0; d < map->dims; d++) job.count *= shape[d] = map->shape[order[d]];
    if (job.count == 0) return FASTNN_DONE;

    bool contiguous = true;
    void *data[MAX_OPERANDS];
    for (int k = 0; k < operands; k++) {
        const fastnn_operand *operand = &map->operands[k];
        ptrdiff_t strides[FASTNN_MAX_DIMS] = {0};
        for (int d = 0; d < map->dims && operand->data != NULL; d++) strides[d] = operand->strides[order[d]];
        fastnn_make_view(&job.views[k], operand, map->float64, map->dims, shape, strides);
        contiguous = contiguous && fastnn_is_contiguous(&job.views[k]);
        data[k] = operand->data;
    }
    if (contiguous) return fastnn_run_contiguous(map->kernel, map->float64, job.count, data, map->parameters);
    job.piece = job.count < serial_elements[FASTNN_COSTLY] ? job.count : fastnn_piece_elements(job.count);
    return fastnn_parallel(divided_up(job.count, job.piece), run_strided_piece, &job);
}
