// The steps of the optimisers over lists of tensors. The elements of all tensors of a list count as one long row, which
// is cut into pieces: threads share large tensors, and one piece may have many small ones. The cut depends on the sizes
// alone. This file must not know what the rules compute.
#include <math.h>
#include <string.h>

#include "optim/optimizer_kernels.h"
#include "runtime/sizes.h"
#include "runtime/tiles.h"

// Threads pay from so many elements on: about as many bytes as in elementwise.c. Adam's step on that many elements in
// the caches takes 5 us.
enum { SERIAL_ELEMENTS = 32768 };

typedef struct {
    const char *name;
    int operands;
} rule_shape;
static const rule_shape rule_shapes[] = {
#define RULE(name, operands, ...) {#name, operands},
#include "optim/optimizers.def"
#undef RULE
};

int fastnn_find_rule(const char *name) {
    for (int i = 0; i < RULE_COUNT; i++)
        if (strcmp(rule_shapes[i].name, name) == 0) return i;
    return -1;
}
const char *fastnn_rule_name(int rule) { return rule < RULE_COUNT ? rule_shapes[rule].name : NULL; }
int fastnn_rule_operands(int rule) { return rule_shapes[rule].operands; }

// ---- pieces --------------------------------------------------------------------------------------------------------

typedef struct list_job list_job;
struct list_job {
    const fastnn_step *step;
    const fastnn_optimizer_table *table;
    size_t size;          // bytes of an element
    size_t count, piece;  // elements of all tensors, and of a piece
    // Does piece p's part of tensor t: elements first ... first + count - 1 of it.
    void (*run)(const list_job *self, size_t t, size_t first, size_t count, size_t p);
    fastnn_reduction reduction;
    double *partial;  // results of the parts
};

static list_job make_job(const fastnn_step *step) {
    const fastnn_optimizer_table *table = fastnn_current(step->float64)->optimizer;
    list_job made = {.step = step, .table = table, .size = table->bytes};
    for (size_t t = 0; t < step->tensors; t++) made.count += step->tensor[t].count;
    made.piece = made.count < SERIAL_ELEMENTS ? made.count : fastnn_piece_elements(made.count);
    return made;
}
static size_t pieces_of(const list_job *self) { return self->count == 0 ? 0 : divided_up(self->count, self->piece); }

static void run_piece(const void *context, size_t p) {
    const list_job *self = context;
    const size_t first = p * self->piece, end = first + self->piece;
    size_t start = 0;  // of tensor t in the row of all elements
    for (size_t t = 0; t < self->step->tensors && start < end; t++) {
        const size_t stop = start + self->step->tensor[t].count;
        const size_t from = larger(first, start), to = smaller(end, stop);
        if (from < to) self->run(self, t, from - start, to - from, p);
        start = stop;
    }
}

// ---- steps ---------------------------------------------------------------------------------------------------------

// direction: the rule's last operand if it is a direction, which goes to memory of the caller's; else NULL.
static void run_rule(const list_job *self, size_t t, size_t first, size_t count, void *direction) {
    const fastnn_step *step = self->step;
    const fastnn_tensor *tensor = &step->tensor[t];
    void *operands[FASTNN_RULE_OPERANDS];
    const void *sources[FASTNN_RULE_OPERANDS];
    fastnn_rule_settings settings = {.penalties = &step->penalties};
    const int given = rule_shapes[step->rule].operands - (direction != NULL);
    for (int k = 0; k < given; k++) {
        const void *source = tensor->sources[k] == NULL ? tensor->operands[k] : tensor->sources[k];
        operands[k] = (char *)tensor->operands[k] + first * self->size;
        sources[k] = (const char *)source + first * self->size;
    }
    if (direction != NULL) sources[given] = operands[given] = direction;
    memcpy(settings.numbers, step->numbers, sizeof settings.numbers);
    settings.numbers[0] *= tensor->factor;
    self->table->rules[step->rule](count, operands, sources, &settings);
}

static void run_update(const list_job *self, size_t t, size_t first, size_t count, size_t p) {
    (void)p;
    run_rule(self, t, first, count, NULL);
}

void fastnn_run_step(const fastnn_step *step) {
    list_job made = make_job(step);
    made.run = run_update;
    fastnn_parallel_to_end(pieces_of(&made), run_piece, &made);
}

// ---- reductions ----------------------------------------------------------------------------------------------------

static double merge(fastnn_reduction reduction, double a, double b) {
    return reduction != FASTNN_LARGEST ? a + b : isnan(a) || a > b ? a : b;
}

// The two results of piece p's part of tensor t. Numbers p + t are all different, since from one part to the next p or
// t grows.
static double *partial_of(const list_job *self, size_t t, size_t p) { return self->partial + 2 * (p + t); }

static void run_reduction(const list_job *self, size_t t, size_t first, size_t count, size_t p) {
    const char *x = (const char *)self->step->tensor[t].operands[0] + first * self->size;
    _Alignas(64) char direction[TILE_BYTES];
    double *partial = partial_of(self, t, p);
    for (size_t i = 0; i < count; i += TILE_ELEMENTS) {
        const size_t tile = count - i < TILE_ELEMENTS ? count - i : TILE_ELEMENTS;
        const double of_parameter = self->table->reductions[self->reduction](tile, x + i * self->size);
        partial[0] = merge(self->reduction, partial[0], of_parameter);
        if (self->step->rule < 0) continue;
        run_rule(self, t, first + i, tile, direction);
        const double of_direction = self->table->reductions[self->reduction](tile, direction);
        partial[1] = merge(self->reduction, partial[1], of_direction);
    }
}

static void merge_partial(const list_job *self, double *results) {
    size_t start = 0;
    for (size_t t = 0; t < self->step->tensors; t++) {
        const size_t stop = start + self->step->tensor[t].count;
        results[2 * t] = results[2 * t + 1] = 0;
        for (size_t p = start / (self->piece + !self->piece); start < stop && p * self->piece < stop; p++)
            for (size_t k = 0; k < 2; k++)
                results[2 * t + k] = merge(self->reduction, results[2 * t + k], partial_of(self, t, p)[k]);
        start = stop;
    }
}

fastnn_outcome fastnn_run_reduction(const fastnn_step *step, fastnn_reduction reduction, double *results) {
    list_job made = make_job(step);
    const size_t bytes = 2 * (pieces_of(&made) + step->tensors) * sizeof *made.partial;
    made.run = run_reduction;
    made.reduction = reduction;
    made.partial = fastnn_allocate(bytes);
    if (made.partial == NULL) return FASTNN_NO_MEMORY;
    memset(made.partial, 0, bytes);
    fastnn_parallel_to_end(pieces_of(&made), run_piece, &made);
    merge_partial(&made, results);
    fastnn_release(made.partial);
    return FASTNN_DONE;
}

// ---- rows ----------------------------------------------------------------------------------------------------------

typedef struct {
    const fastnn_optimizer_table *table;
    size_t rows, length, piece_rows;
    char *x;
    double limit;
} rows_job;

static void scale_row(const rows_job *job, void *row, double factor) {
    const fastnn_penalties none = {0};
    const fastnn_rule_settings settings = {&none, {factor}};
    const void *source = row;
    job->table->rules[RULE_scale](job->length, &row, &source, &settings);
}

static double norm_of_row(const rows_job *job, const void *row) {
    return sqrt(job->table->reductions[FASTNN_SQUARES](job->length, row));
}

// A row whose squares overflow is multiplied by a power of two first.
static void limit_row(const rows_job *job, void *row) {
    double norm = norm_of_row(job, row), unit = 1;
    if (isinf(norm)) {
        const double largest = job->table->reductions[FASTNN_LARGEST](job->length, row);
        if (isfinite(largest)) unit = ldexp(1, -ilogb(largest));
        scale_row(job, row, unit);
        norm = norm_of_row(job, row);
    }
    const double factor = norm > job->limit * unit ? job->limit / norm : 1 / unit;
    if (factor != 1) scale_row(job, row, factor);
}

static void limit_rows(const void *context, size_t piece) {
    const rows_job *job = context;
    const size_t first = piece * job->piece_rows, left = job->rows - first;
    for (size_t r = first; r < first + smaller(left, job->piece_rows); r++)
        limit_row(job, job->x + r * job->length * job->table->bytes);
}

void fastnn_limit_rows(bool float64, size_t rows, size_t length, void *x, double limit) {
    if (rows * length == 0) return;
    const size_t piece = rows * length < SERIAL_ELEMENTS ? rows * length : fastnn_piece_elements(rows * length);
    const rows_job job = {
        .table = fastnn_current(float64)->optimizer,
        .rows = rows,
        .length = length,
        .piece_rows = divided_up(piece, length),
        .x = x,
        .limit = limit,
    };
    fastnn_parallel_to_end(divided_up(rows, job.piece_rows), limit_rows, &job);
}
