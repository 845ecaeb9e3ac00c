// Rows of a table by their numbers, and sums of rows that have the same number. No instruction set matters: memory is
// copied and added up. A number that another thread writes to meanwhile is read once, and never used outside the table.
#include <math.h>
#include <string.h>

#include "fastnn.h"
#include "runtime/scratch.h"
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

enum { MOST_COLUMNS = 512 };  // that are summed together: their sums stay in L1

// The places of number r among the indices, in their order, are places[starts[r]] to places[starts[r + 1] - 1].
typedef struct {
    bool float64;
    size_t length, columns, block, strip;  // block, strip: rows and columns of the result in a piece
    const void *rows;
    size_t *starts, *numbers, *places;
    void *sums;
} add_job;

// Sorts the places by their numbers. Numbers that count for nothing come last, as `length`.
static void sort_places(const add_job *job, size_t count, const int64_t *indices, int64_t skipped) {
    const size_t length = job->length;
    size_t *ends = job->starts + 1;  // of each number's places, as far as they are filled in
    memset(job->starts, 0, (length + 3) * sizeof(size_t));
    for (size_t i = 0; i < count; i++) {
        const int64_t number = number_at(indices, i);
        job->numbers[i] = number == skipped || (uint64_t)number >= length ? length : (size_t)number;
        ends[job->numbers[i] + 1]++;
    }
    for (size_t r = 0; r <= length; r++) ends[r + 1] += ends[r];
    for (size_t i = 0; i < count; i++) job->places[ends[job->numbers[i]]++] = i;
}

static void add_floats(const add_job *job, const size_t *places, size_t count, size_t first, size_t width, float *out) {
    double sum[MOST_COLUMNS];
    memset(sum, 0, width * sizeof(double));
    for (size_t i = 0; i < count; i++) {
        const float *row = (const float *)job->rows + places[i] * job->columns + first;
        for (size_t c = 0; c < width; c++) sum[c] += (double)row[c];
    }
    for (size_t c = 0; c < width; c++) out[c] = (float)sum[c];
}

// Knuth's two-sum: `low` collects what each addition loses.
static void add_doubles(const add_job *job, const size_t *places, size_t count, size_t first, size_t width,
                        double *sum) {
    double low[MOST_COLUMNS];
    memset(low, 0, width * sizeof(double));
    memset(sum, 0, width * sizeof(double));
    for (size_t i = 0; i < count; i++) {
        const double *row = (const double *)job->rows + places[i] * job->columns + first;
        for (size_t c = 0; c < width; c++) {
            const double next = sum[c] + row[c], added = next - sum[c];
            low[c] += (sum[c] - (next - added)) + (row[c] - added);
            sum[c] = next;
        }
    }
    for (size_t c = 0; c < width; c++) sum[c] = isfinite(sum[c]) ? sum[c] + low[c] : sum[c];
}

static void add_piece(const void *context, size_t index) {
    const add_job *job = context;
    const size_t size = job->float64 ? sizeof(double) : sizeof(float), columns = job->columns;
    const size_t strips = divided_up(columns, job->strip), first = index % strips * job->strip;
    const size_t width = smaller(job->strip, columns - first), begin = index / strips * job->block;
    const size_t end = smaller(begin + job->block, job->length);
    for (size_t r = begin; r < end; r++) {
        const size_t *places = job->places + job->starts[r], count = job->starts[r + 1] - job->starts[r];
        void *out = (char *)job->sums + (r * columns + first) * size;
        if (count == 0) {
            memset(out, 0, width * size);
        } else if (count == 1) {
            memcpy(out, (const char *)job->rows + (places[0] * columns + first) * size, width * size);
        } else if (job->float64) {
            add_doubles(job, places, count, first, width, out);
        } else {
            add_floats(job, places, count, first, width, out);
        }
    }
}

fastnn_outcome fastnn_add_rows(bool float64, size_t length, size_t columns, const void *rows, size_t count,
                               const int64_t *indices, int64_t skipped, void *sums) {
    if (length * columns == 0) return FASTNN_DONE;
    fastnn_scratch scratch;
    if (!fastnn_open_scratch(&scratch, 1, 0, (length + 3 + 2 * count) * sizeof(size_t))) return FASTNN_NO_MEMORY;
    size_t *starts = (size_t *)scratch.shared, *numbers = starts + length + 3, *places = numbers + count;
    const size_t threads = (size_t)fastnn_get_num_threads(), share = rounded_up(divided_up(columns, threads), LINE);
    const size_t strip = smaller(MOST_COLUMNS, length < threads ? share : columns);
    const size_t block = larger(PIECE_BYTES / (strip * sizeof(double)), 1);
    const add_job job = {float64, length, columns, block, strip, rows, starts, numbers, places, sums};
    sort_places(&job, count, indices, skipped);
    const size_t pieces = divided_up(columns, strip) * divided_up(length, block);
    const fastnn_outcome outcome = fastnn_parallel(pieces, add_piece, &job);
    fastnn_close_scratch(&scratch);
    return outcome;
}
