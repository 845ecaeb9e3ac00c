// Pooling over windows. Each image is done by itself, in strips of rows whose phase planes stay in the cache. A piece
// of the work is some strips, of one image or of several; how it is cut depends on the shape alone.
#include <math.h>
#include <string.h>

#include "runtime/scratch.h"
#include "window/window.h"

enum {
    PLANE_BYTES = 64 << 10,  // of a strip's phase planes
    PIECE_ELEMENTS = 16384,  // of the images, at least
    PIECES = 64,
};

typedef struct {
    const fastnn_pool *pool;
    const fastnn_window_table *table;
    bool pairs;                 // run_pairs does it
    size_t size;                // bytes of an element
    size_t image, result;       // elements of one image, and of its result
    size_t strip_rows, strips;  // rows of a strip, of windows or (backward) of the image; strips of an image
    size_t strips_of_piece;
    size_t offsets_bytes;
    char *numbers[2];
    fastnn_scratch scratch;
} pool_job;

// Some rows of windows of an image.
static fastnn_block strip_of(const pool_job *job, size_t first_row, size_t rows) {
    const fastnn_axis *axis = job->pool->axis;
    fastnn_block block = fastnn_make_block(axis, 1, (size_t[]){rows, axis[1].places});
    block.first[0] = first_row;
    block.row_stride = axis[1].size;
    return block;
}

// The rows of windows with a tap in rows first ... end - 1 of the image.
static fastnn_block strip_over(const pool_job *job, size_t first, size_t end) {
    const fastnn_axis *axis = &job->pool->axis[0];
    const ptrdiff_t reach = (ptrdiff_t)(axis->taps - 1) * axis->step, stride = (ptrdiff_t)axis->stride;
    const ptrdiff_t above = (ptrdiff_t)first - axis->start - reach, below = (ptrdiff_t)end - 1 - axis->start;
    const size_t first_row = above <= 0 ? 0 : (size_t)((above + stride - 1) / stride);
    const size_t end_row = below < 0 ? 0 : smaller((size_t)(below / stride) + 1, axis->places);
    return strip_of(job, smaller(first_row, end_row), end_row - smaller(first_row, end_row));
}

static void pool_strip(const pool_job *job, size_t image, size_t strip, char *slot) {
    const fastnn_pool *pool = job->pool;
    const fastnn_pool_tables tables = {(size_t *)slot, {job->numbers[0], job->numbers[1]}};
    const size_t first = strip * job->strip_rows;
    const fastnn_block block = strip_of(job, first, smaller(job->strip_rows, pool->axis[0].places - first));
    char *planes = slot + job->offsets_bytes, *y = (char *)pool->y + image * job->result * job->size;
    char *argmax = (char *)pool->argmax + image * job->result * pool->argmax_bytes;
    fastnn_find_offsets(&block, (size_t *)slot);
    job->table->prepare(&block, (const char *)pool->x + image * job->image * job->size, 1,
                        pool->mode == FASTNN_MAX_POOL ? -(double)INFINITY : 0, planes);
    job->table->pool(pool, &block, &tables, planes, y, argmax);
}

static void unpool_strip(const pool_job *job, size_t image, size_t strip, char *slot) {
    const fastnn_pool *pool = job->pool;
    const fastnn_pool_tables tables = {(size_t *)slot, {job->numbers[0], job->numbers[1]}};
    const size_t first = strip * job->strip_rows, end = smaller(first + job->strip_rows, pool->axis[0].size);
    const fastnn_block block = strip_over(job, first, end);
    char *planes = slot + job->offsets_bytes;
    const char *dy = (const char *)pool->dy + image * job->result * job->size;
    const char *argmax = (const char *)pool->argmax + image * job->result * pool->argmax_bytes;
    fastnn_find_offsets(&block, (size_t *)slot);
    memset(planes, 0, block.channel * job->size);
    job->table->unpool(pool, &block, &tables, planes, dy, argmax);
    job->table->restore(&block, planes, first, end, (char *)pool->dx + image * job->image * job->size);
}

// Windows of 2 x 2 side by side need no phase planes.
static bool are_pairs(const fastnn_pool *pool) {
    for (int d = 0; d < 2; d++) {
        const fastnn_axis *axis = &pool->axis[d];
        if (axis->taps != 2 || axis->stride != 2 || axis->step != 1 || axis->start != 0) return false;
        if (2 * axis->places > axis->size) return false;
    }
    return pool->mode == FASTNN_MAX_POOL;
}

static void run_pairs(const pool_job *job, size_t image, size_t strip) {
    const fastnn_pool *pool = job->pool;
    const size_t rows = pool->axis[0].places, columns = pool->axis[1].places, width = pool->axis[1].size;
    const size_t first = strip * job->strip_rows, some = smaller(job->strip_rows, rows - first);
    const size_t result = image * job->result + first * columns, at = image * job->image + 2 * first * width;
    char *argmax = (char *)pool->argmax + result;
    if (pool->dy == NULL) {
        job->table->max_of_pairs((const char *)pool->x + at * job->size, width, some, columns,
                                 (char *)pool->y + result * job->size, argmax);
        return;
    }
    char *dx = (char *)pool->dx + at * job->size;
    job->table->pairs_of_max((const char *)pool->dy + result * job->size, argmax, some, columns, width, dx);
    if (first + some == rows)  // the last row, if their number is odd, is in no window
        memset(dx + 2 * some * width * job->size, 0, (pool->axis[0].size - 2 * rows) * width * job->size);
}

static void run_piece(const void *context, size_t index) {
    const pool_job *job = context;
    char *slot = fastnn_take_scratch(&job->scratch);
    const size_t first = index * job->strips_of_piece, all = job->pool->images * job->strips;
    for (size_t i = first; i < first + job->strips_of_piece && i < all; i++) {
        if (job->pairs)
            run_pairs(job, i / job->strips, i % job->strips);
        else if (job->pool->dy == NULL)
            pool_strip(job, i / job->strips, i % job->strips, slot);
        else
            unpool_strip(job, i / job->strips, i % job->strips, slot);
    }
    fastnn_give_scratch(&job->scratch, slot);
}

// Cuts an image into strips whose phase planes fit into PLANE_BYTES: strips of rows of windows, or of rows of the image
// in backward. Returns the bytes of a strip's phase planes.
static size_t cut_strips(pool_job *job) {
    const fastnn_axis *axis = &job->pool->axis[0];
    const bool backward = job->pool->dy != NULL && !job->pairs;
    const size_t rows = backward ? axis->size : axis->places;
    size_t bytes, strip = rows;
    for (;; strip = divided_up(strip, 2)) {
        const fastnn_block block =
            backward
                ? strip_of(job, 0,
                           smaller((strip + (axis->taps - 1) * (size_t)axis->step) / axis->stride + 1, axis->places))
                : strip_of(job, 0, strip);
        bytes = block.channel * job->size;
        if (bytes <= PLANE_BYTES || strip == 1) break;
    }
    job->strips = divided_up(rows, strip);
    job->strip_rows = strip;
    return bytes;
}

fastnn_outcome fastnn_run_pool(const fastnn_pool *pool) {
    const fastnn_axis *axis = pool->axis;
    const fastnn_window_table *table = fastnn_current(pool->float64)->window;
    pool_job job = {.pool = pool,
                    .table = table,
                    .pairs = are_pairs(pool),
                    .size = table->bytes,
                    .image = axis[0].size * axis[1].size,
                    .result = axis[0].places * axis[1].places};
    if (pool->images * job.image == 0) return FASTNN_DONE;
    const size_t bytes = cut_strips(&job), strips = pool->images * job.strips;
    const size_t pieces = larger(smaller(pool->images * job.image / PIECE_ELEMENTS, PIECES), 1);
    job.strips_of_piece = divided_up(strips, pieces);
    job.offsets_bytes = in_lines(fastnn_taps(axis) * sizeof(size_t));
    size_t number_bytes[2];
    for (int d = 0; d < 2; d++) number_bytes[d] = in_lines((axis[d].places + FASTNN_BLOCK_SLACK) * job.size);
    const size_t used = divided_up(strips, job.strips_of_piece);
    if (!fastnn_open_scratch(&job.scratch, used, job.offsets_bytes + bytes, number_bytes[0] + number_bytes[1]))
        return FASTNN_NO_MEMORY;
    job.numbers[0] = job.scratch.shared, job.numbers[1] = job.numbers[0] + number_bytes[0];
    table->find_numbers(pool, (void *const[]){job.numbers[0], job.numbers[1]});
    const fastnn_outcome outcome = fastnn_parallel(used, run_piece, &job);
    fastnn_close_scratch(&job.scratch);
    return outcome;
}
