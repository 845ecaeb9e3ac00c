// Group and instance norm with the channels last in memory: a group is some columns of its sample, and a column is
// summed in a lane. Part of row_kernels.c.
#ifndef FASTNN_ROW_COLUMNS_H
#define FASTNN_ROW_COLUMNS_H

#include "math/moments.h"
#include "norm/row_kernels.h"

enum {
    DEEP = 8,           // lines that are summed at a time, so that sums are loaded and stored less often
    CENTER_LINES = 16,  // whose mean is the center of the first sums
};

// A part, and its arrays of numbers for each column of a line.
typedef struct {
    const fastnn_norm *norm;
    size_t row, groups;   // the first of its rows, and their number
    size_t start, apart;  // elements before its first line, and from one line to the next
    size_t width, lines;  // columns of a line, and whole lines
    size_t rest;          // columns of the shorter line behind them
    size_t sample;        // elements of a sample: what comes next is prefetched
    real *center, *scale, *shift, *slope;
    real *recent[2];
    double *sums[2];
} column_part;

NOINLINE column_part make_part(const fastnn_norm *norm, const fastnn_columns *part, double *scratch) {
    const size_t columns = part->groups * norm->channels, row = part->sample * norm->groups + part->group;
    const size_t width = columns * part->together, step = width + COLUMN_SLACK;
    return (column_part){
        .norm = norm,
        .row = row,
        .groups = part->groups,
        .start = start_of(norm, row),
        .apart = norm->groups * norm->channels * part->together,
        .width = width,
        .lines = norm->inner / part->together,
        .rest = norm->inner % part->together * columns,
        .sample = norm->groups * row_length(norm),
        .center = (real *)scratch,
        .scale = (real *)(scratch + step),
        .shift = (real *)(scratch + 2 * step),
        .slope = (real *)(scratch + 3 * step),
        .recent = {(real *)(scratch + 4 * step), (real *)(scratch + 5 * step)},
        .sums = {scratch + 6 * step, scratch + 7 * step},
    };
}

static size_t columns_of(const column_part *p) { return p->groups * p->norm->channels; }

// Sets the values of a group's columns, of its channel c in a whole line.
static void set_columns(const column_part *p, real *array, size_t group, size_t c, double value) {
    for (size_t i = group * p->norm->channels + c; i < p->width; i += columns_of(p)) array[i] = (real)value;
}

// ---- sums of columns -----------------------------------------------------------------------------------------------

// Adds some lines to the recent sums: g = dy and g (x - center); without dy, g = x - center.
ALWAYS_INLINE void add_lines(int lines, const column_part *p, size_t width, size_t apart, const real *x,
                             const real *dy) {
    for (size_t i = 0; i < width; i += LANES) {
        const size_t count = width - i < LANES ? width - i : LANES;
        const V center = vload_some(p->center + i, count);
        V sum = vload(p->recent[0] + i), product = vload(p->recent[1] + i);
        for (int k = 0; k < lines; k++) {
            const size_t at = (size_t)k * apart + i;
            const V d = vload_some(x + at, count) - center, g = dy == NULL ? d : vload_some(dy + at, count);
            sum += g;
            product = vmadd(g, d, product);
        }
        vstore(p->recent[0] + i, sum);
        vstore(p->recent[1] + i, product);
    }
}

NOINLINE void flush_columns(const column_part *p) {
    for (int k = 0; k < 2; k++) flush(p->width, p->recent[k], p->sums[k]);
}

NOINLINE void clear_sums(const column_part *p) {
    for (int k = 0; k < 2; k++) {
        memset(p->recent[k], 0, (p->width + COLUMN_SLACK) * sizeof(real));
        memset(p->sums[k], 0, p->width * sizeof(double));
    }
}

NOINLINE void sum_columns(const column_part *p, const real *x, const real *dy) {
#define AT(array, line) ((array) == NULL ? NULL : (array) + (line) * p->apart)
    clear_sums(p);
    for (size_t line = 0, end; line < p->lines; line = end) {
        end = p->lines - line < RECENT_ROWS ? p->lines : line + RECENT_ROWS;
        for (; line + DEEP <= end; line += DEEP) add_lines(DEEP, p, p->width, p->apart, AT(x, line), AT(dy, line));
        for (; line < end; line++) add_lines(1, p, p->width, p->apart, AT(x, line), AT(dy, line));
        flush_columns(p);
    }
    add_lines(1, p, p->rest, p->apart, AT(x, p->lines), AT(dy, p->lines));
    flush_columns(p);
#undef AT
}

// The sum of one of the sums over the columns of a group's channel c.
static double channel_sum(const column_part *p, const double *sums, size_t group, size_t c) {
    double sum = 0;
    for (size_t i = group * p->norm->channels + c; i < p->width; i += columns_of(p)) sum += sums[i];
    return sum;
}
static double group_sum(const column_part *p, const double *sums, size_t group) {
    double sum = 0;
    for (size_t c = 0; c < p->norm->channels; c++) sum += channel_sum(p, sums, group, c);
    return sum;
}

// ---- forward -------------------------------------------------------------------------------------------------------

static void set_centers(const column_part *p, size_t group, double mean) {
    for (size_t c = 0; c < p->norm->channels; c++) set_columns(p, p->center, group, c, mean);
}

// Takes the means of some lines that are spread over the part, since neighbouring positions are often alike.
static void find_centers(const column_part *p, const real *x) {
    size_t lines = p->lines < DEEP ? p->lines : p->lines < CENTER_LINES ? DEEP : CENTER_LINES;
    const size_t apart = p->lines / lines * p->apart;
    memset(p->center, 0, p->width * sizeof(real));
    clear_sums(p);
    for (size_t line = 0; line < lines; line += lines < DEEP ? 1 : DEEP) {
        if (lines < DEEP)
            add_lines(1, p, p->width, apart, x + line * apart, NULL);
        else
            add_lines(DEEP, p, p->width, apart, x + line * apart, NULL);
    }
    flush_columns(p);
    const double count = (double)(lines * p->width / p->groups);
    for (size_t g = 0; g < p->groups; g++) set_centers(p, g, group_sum(p, p->sums[0], g) / count);
}

// Sets a group's statistics from the sums of x - center and of its square. False where the center is too far from the
// mean for all digits of the variance.
static bool set_statistics(const column_part *p, size_t group) {
    const fastnn_norm *norm = p->norm;
    const size_t row = p->row + group;
    const double n = (double)row_length(norm), center = (double)p->center[group * norm->channels];
    const double sum = group_sum(p, p->sums[0], group), square = group_sum(p, p->sums[1], group);
    const double m2 = square - sum * (sum / n), variance = m2 > 0 ? m2 / n : 0;
    norm->mean[row] = center + sum / n;
    norm->rstd[row] = 1 / sqrt(variance + norm->eps);
    if (norm->variance != NULL) norm->variance[row] = variance;
    if (!isfinite(m2)) careful_row(norm, row);
    return !isfinite(m2) || sum * (sum / n) <= m2;
}

// The sums are taken a second time where a center was not good enough. The other groups' centers stay as they were, so
// that their results do.
static void column_statistics(const column_part *p, const real *x) {
    find_centers(p, x);
    for (int attempt = 0; attempt < 2; attempt++) {
        bool good = true;
        sum_columns(p, x, NULL);
        for (size_t g = 0; g < p->groups; g++) {
            if (set_statistics(p, g)) continue;
            good = false;
            set_centers(p, g, p->norm->mean[p->row + g]);
        }
        if (good) return;
    }
}

// y = (x - center) scale + shift; with dy, dx = dy scale - ((x - center) slope + shift). The numbers are those of the
// columns from `first` on.
ALWAYS_INLINE void write_line(const column_part *p, size_t first, size_t count, const real *x, const real *dy,
                              real *out) {
    const real *center = p->center + first, *scale = p->scale + first, *shift = p->shift + first;
    const real *slope = p->slope + first;
    for (size_t i = 0; i < count; i += LANES) {
        const size_t n = count - i < LANES ? count - i : LANES;
        __builtin_prefetch(x + i + p->sample);
        if (dy != NULL) __builtin_prefetch(dy + i + p->sample);
        const V d = vload_some(x + i, n) - vload(center + i);
        const V result =
            dy == NULL ? vmadd(d, vload(scale + i), vload(shift + i))
                       : vmadd(vload_some(dy + i, n), vload(scale + i), -vmadd(d, vload(slope + i), vload(shift + i)));
        vstore_some(out + i, n, result);
    }
}

// So that no store crosses a line of the cache, lines that follow one another in memory are taken from a later column
// on, and each goes on into the one behind it.
ALWAYS_INLINE void write_lines(const column_part *p, const real *x, const real *dy, real *out) {
    const size_t end = p->lines * p->apart + p->rest;
    const size_t head = p->apart == p->width && p->width >= LANES ? vahead(out) : 0;
    real *const numbers[] = {p->center, p->scale, p->shift, p->slope};
    for (size_t k = 0; k < (dy == NULL ? 3 : 4); k++) memcpy(numbers[k] + p->width, numbers[k], head * sizeof(real));
    write_line(p, 0, head, x, dy, out);
    for (size_t at = head; at < end; at += p->apart) {
        const size_t count = end - at < p->width ? end - at : p->width;
        write_line(p, head, count, x + at, dy == NULL ? NULL : dy + at, out + at);
    }
}

// One group of a part, position by position. A part with a row of huge deviations is written so: that row has a way of
// its own.
COLD column_part group_of(const column_part *p, size_t group) {
    column_part g = *p;
    const size_t first = group * p->norm->channels;
    g.start += first, g.center += first, g.scale += first, g.shift += first, g.slope += first;
    g.row += group, g.groups = 1;
    g.width = p->norm->channels, g.lines = p->norm->inner, g.rest = 0;
    g.apart = p->norm->groups * p->norm->channels;
    return g;
}
NOINLINE bool has_huge(const column_part *p) {
    bool huge = false;
    for (size_t g = 0; g < p->groups; g++) huge = huge || is_huge(p->norm, p->row + g);
    return huge;
}

static void apply_part(const column_part *p) {
    write_lines(p, (const real *)p->norm->x + p->start, NULL, (real *)p->norm->y + p->start);
}

static void apply_columns(const column_part *p) {
    const fastnn_norm *norm = p->norm;
    for (size_t g = 0; g < p->groups; g++) {
        const double mean = mean_of(norm, p->row + g), low = mean - (double)(real)mean;
        set_centers(p, g, mean);
        for (size_t c = 0; c < norm->channels; c++) {
            const size_t channel = first_channel(norm, p->row + g) + c;
            const double slope = norm->rstd[p->row + g] * value_or(norm->weight, channel, 1);
            set_columns(p, p->scale, g, c, slope);
            set_columns(p, p->shift, g, c, value_or(norm->bias, channel, 0) - low * slope);
        }
    }
    if (!has_huge(p)) {
        apply_part(p);
        return;
    }
    for (size_t g = 0; g < p->groups; g++) {
        const column_part group = group_of(p, g);
        if (is_huge(norm, group.row))
            apply_huge(norm, group.row, 0, row_length(norm), (const real *)norm->x + group.start,
                       (real *)norm->y + group.start);
        else
            apply_part(&group);
    }
}

static void columns(const fastnn_norm *norm, const fastnn_columns *part, double *scratch) {
    const column_part p = make_part(norm, part, scratch);
    if (!norm->given) column_statistics(&p, (const real *)norm->x + p.start);
    apply_columns(&p);
}

// ---- backward ------------------------------------------------------------------------------------------------------

static void apply_backward_part(const column_part *p) {
    write_lines(p, (const real *)p->norm->x + p->start, (const real *)p->norm->dy + p->start,
                (real *)p->norm->dx + p->start);
}

// Sets the columns' numbers of a group, and adds to dweight and dbias.
static void gradient_of_group(const column_part *p, size_t g, const fastnn_norm_sums *sums) {
    const fastnn_norm *norm = p->norm;
    const size_t row = p->row + g, first = first_channel(norm, row);
    row_sums all = {0, 0};
    for (size_t c = 0; c < norm->channels; c++)
        add_channel(norm, row, first + c, channel_sum(p, p->sums[0], g, c), channel_sum(p, p->sums[1], g, c), &all,
                    sums);
    const fastnn_row_gradient gradient = gradient_of(norm, row, all.sum, all.sum_xhat);
    for (size_t c = 0; c < norm->channels; c++) {
        set_columns(p, p->scale, g, c, gradient.scale * value_or(norm->weight, first + c, 1));
        set_columns(p, p->slope, g, c, gradient.slope);
        set_columns(p, p->shift, g, c, gradient.shift);
    }
}

static void columns_backward(const fastnn_norm *norm, const fastnn_columns *part, const fastnn_norm_sums *sums,
                             double *scratch) {
    const column_part p = make_part(norm, part, scratch);
    for (size_t g = 0; g < p.groups; g++) set_centers(&p, g, mean_of(norm, p.row + g));
    sum_columns(&p, (const real *)norm->x + p.start, (const real *)norm->dy + p.start);
    for (size_t g = 0; g < p.groups; g++)
        if (!is_huge(norm, p.row + g)) gradient_of_group(&p, g, sums);
    if (!has_huge(&p)) {
        apply_backward_part(&p);
        return;
    }
    for (size_t g = 0; g < p.groups; g++) {
        const column_part group = group_of(&p, g);
        if (!is_huge(norm, group.row)) {
            apply_backward_part(&group);
            continue;
        }
        const fastnn_row_gradient gradient = sums_of_huge(norm, group.row, sums);
        apply_backward_huge(norm, &gradient, group.row, 0, row_length(norm), (const real *)norm->dy + group.start,
                            (const real *)norm->x + group.start, (real *)norm->dx + group.start);
    }
}

#endif
