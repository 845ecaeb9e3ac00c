// Rows of a table by their numbers, and sums of rows that have the same number. No instruction set matters: memory is
// copied and added up. A number that another thread writes to meanwhile is read once, and never used outside the table.
#include <string.h>

#include "fastnn.h"
#include "runtime/sizes.h"

enum { PIECE_BYTES = 1 << 16 };

static int64_t number_at(const int64_t *indices, size_t i) { return __atomic_load_n(indices + i, __ATOMIC_RELAXED); }

// ---- rows by their numbers -----------------------------------------------------------------------------------------

typedef struct {
    size_t length, bytes, count, piece;
    const char *table;
    const int64_t *indices;
    char *out;
} take_job;

static void take_piece(const void *context, size_t index) {
    const take_job *job = context;
    const size_t first = index * job->piece, end = smaller(first + job->piece, job->count);
    for (size_t i = first; i < end; i++) {
        const size_t row = (size_t)number_at(job->indices, i);
        if (row < job->length) memcpy(job->out + i * job->bytes, job->table + row * job->bytes, job->bytes);
    }
}

fastnn_outcome fastnn_take_rows(size_t length, size_t bytes, const void *table, size_t count, const int64_t *indices,
                                void *out) {
    if (bytes * count == 0) return FASTNN_DONE;
    const take_job job = {length, bytes, count, larger(PIECE_BYTES / bytes, 1), table, indices, out};
    return fastnn_parallel(divided_up(count, job.piece), take_piece, &job);
}

// ---- sums of rows --------------------------------------------------------------------------------------------------

// A piece is some columns of all rows, whole lines of the caches, so that the order of every sum is that of the
// numbers.
typedef struct {
    bool float64;
    size_t length, columns, width, count;
    const void *rows;
    const int64_t *indices;
    int64_t skipped;
    void *sums;
} add_job;

#define ADD_COLUMNS(name, type)                                                                       \
    static void name(const add_job *job, size_t first, size_t width) {                                \
        const type *rows = (const type *)job->rows + first;                                           \
        type *sums = (type *)job->sums + first;                                                       \
        const size_t columns = job->columns;                                                          \
        for (size_t r = 0; r < job->length; r++) memset(sums + r * columns, 0, width * sizeof(type)); \
        for (size_t i = 0; i < job->count; i++) {                                                     \
            const int64_t number = number_at(job->indices, i);                                        \
            if (number == job->skipped || (uint64_t)number >= job->length) continue;                  \
            const type *restrict row = rows + i * columns;                                            \
            type *restrict sum = sums + (size_t)number * columns;                                     \
            for (size_t c = 0; c < width; c++) sum[c] += row[c];                                      \
        }                                                                                             \
    }
ADD_COLUMNS(add_floats, float)
ADD_COLUMNS(add_doubles, double)

static void add_piece(const void *context, size_t index) {
    const add_job *job = context;
    const size_t first = index * job->width, width = smaller(job->width, job->columns - first);
    (job->float64 ? add_doubles : add_floats)(job, first, width);
}

fastnn_outcome fastnn_add_rows(bool float64, size_t length, size_t columns, const void *rows, size_t count,
                               const int64_t *indices, int64_t skipped, void *sums) {
    if (length * columns == 0) return FASTNN_DONE;
    const size_t strip = LINE / (float64 ? sizeof(double) : sizeof(float));
    const size_t share = divided_up(columns, (size_t)fastnn_get_num_threads());
    const add_job job = {float64, length, columns, rounded_up(share, strip), count, rows, indices, skipped, sums};
    return fastnn_parallel(divided_up(columns, job.width), add_piece, &job);
}
