// Matrix products of arrays that end where their memory does, for the sanitizers and for other machines. All numbers
// are small integers, so that every sum is exact.
#include <stdlib.h>

#include "check.h"
#include "fastnn.h"

static double element(const void *data, bool float64, size_t i) {
    return float64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

static void *numbers(bool float64, size_t count) {
    void *data = malloc(count * (float64 ? 8 : 4) + 1);
    for (size_t i = 0; i < count; i++) {
        const int value = rand() % 17 - 8;
        if (float64)
            ((double *)data)[i] = value;
        else
            ((float *)data)[i] = (float)value;
    }
    return data;
}

static fastnn_matrix matrix(const void *data, size_t rows, size_t columns, bool by_rows) {
    return by_rows ? (fastnn_matrix){data, (ptrdiff_t)columns, 1} : (fastnn_matrix){data, 1, (ptrdiff_t)rows};
}

static double exact(const fastnn_product *p, size_t i, size_t j) {
    double sum = 0;
    for (size_t l = 0; l < p->k; l++)
        sum += element(p->a.data, p->float64, i * (size_t)p->a.row + l * (size_t)p->a.column) *
               element(p->b.data, p->float64, l * (size_t)p->b.row + j * (size_t)p->b.column);
    return sum;
}

static void check_product(bool float64, bool add, size_t m, size_t n, size_t k, int layout) {
    void *a = numbers(float64, m * k), *b = numbers(float64, k * n), *c = numbers(float64, m * n);
    double *before = malloc(m * n * sizeof(double) + 1);
    for (size_t i = 0; i < m * n; i++) before[i] = add ? element(c, float64, i) : 0;
    const fastnn_matrix result = matrix(c, m, n, layout & 4);
    const fastnn_product p = {.float64 = float64,
                              .add = add,
                              .m = m,
                              .n = n,
                              .k = k,
                              .a = matrix(a, m, k, layout & 1),
                              .b = matrix(b, k, n, layout & 2),
                              .c = c,
                              .row = result.row,
                              .column = result.column};
    CHECK(fastnn_run_product(&p) == FASTNN_DONE, "not done");
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            const size_t at = i * (size_t)p.row + j * (size_t)p.column;
            CHECK(element(c, float64, at) == before[at] + exact(&p, i, j), "%zu x %zu x %zu, layout %d, at %zu, %zu", m,
                  k, n, layout, i, j);
        }
    }
    free(a), free(b), free(c), free(before);
}

int main(void) {
    static const size_t shapes[][3] = {{0, 5, 3},    {5, 0, 3},    {5, 3, 0},    {1, 1, 1},      {1, 70, 33},
                                       {3, 65, 17},  {8, 16, 100}, {23, 9, 20},  {26, 47, 19},   {41, 33, 65},
                                       {50, 5, 515}, {30, 64, 21}, {145, 30, 7}, {37, 40, 1030}, {250, 70, 90}};
    for (int isa = 0; fastnn_available_isa(isa) != NULL; isa++) {
        CHECK(fastnn_select_isa(fastnn_available_isa(isa)), "%s", fastnn_available_isa(isa));
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int variant = 0; variant < 32; variant++)
                check_product(variant & 16, variant & 8, shapes[s][0], shapes[s][1], shapes[s][2], variant & 7);
    }
    return 0;
}
