// Matrix products over threads: the factors are packed, and the result is cut into pieces, by shape alone. It knows
// nothing of tiles but their size.
#include "gemm/gemm_kernels.h"
#include "runtime/sizes.h"

enum {
    // What is packed at a time, which bounds the scratch memory: blocks of the factors of so many rows, columns and k.
    BLOCK_M = 2048,
    BLOCK_N = 2048,
    BLOCK_K = 1024,
    // From so many products of elements, and so many elements to be packed, on threads pay.
    SERIAL_WORK = 400000,
    SERIAL_PACKING = 50000,
    // The size of a piece, and when there are too many of that, their number.
    PIECE_WORK = 500000,
    MOST_PIECES = 64,
    PIECE_TILES = 20,  // rows of a piece at most
    PACKED_ROWS = 96,  // or columns that a piece packs; rounded up to whole panels
    READING_WORK = 4,  // few rows: reading an element of b takes as long as so many products
    FEW_COLUMNS = 64,  // few rows: the columns of a piece are a multiple
};

typedef struct {
    const fastnn_gemm_table *table;
    fastnn_product product;  // a block: at most BLOCK_M x BLOCK_N x BLOCK_K
    char *left_memory, *panels;
    fastnn_left left;
    size_t left_pieces, packed_rows, packed_columns;
    size_t piece_rows, piece_columns, pieces_down;
} product_job;

static size_t element_bytes(const fastnn_product *p) { return p->float64 ? 8 : 4; }

static fastnn_matrix from(const fastnn_product *p, fastnn_matrix matrix, size_t row, size_t column) {
    const ptrdiff_t elements = (ptrdiff_t)row * matrix.row + (ptrdiff_t)column * matrix.column;
    matrix.data = (const char *)matrix.data + elements * (ptrdiff_t)element_bytes(p);
    return matrix;
}

// ---- the pieces of a block -----------------------------------------------------------------------------------------

static void pack_piece(const void *context, size_t piece) {
    const product_job *job = context;
    const fastnn_product *p = &job->product;
    const size_t bytes = element_bytes(p);
    if (piece < job->left_pieces) {
        const size_t i = piece * job->packed_rows;
        job->table->pack_left(smaller(job->packed_rows, p->m - i), p->k, from(p, p->a, i, 0),
                              job->left_memory + job->table->left_size(i, p->k) * bytes);
    } else {
        const size_t j = (piece - job->left_pieces) * job->packed_columns;
        job->table->pack_right(p->k, smaller(job->packed_columns, p->n - j), from(p, p->b, 0, j),
                               job->panels + j * p->k * bytes);
    }
}

static void multiply_piece(const void *context, size_t piece) {
    const product_job *job = context;
    const fastnn_product *p = &job->product;
    const ptrdiff_t bytes = (ptrdiff_t)element_bytes(p);
    const size_t i = piece % job->pieces_down * job->piece_rows, j = piece / job->pieces_down * job->piece_columns;
    fastnn_left left = job->left;
    left.data = (const char *)left.data + (ptrdiff_t)(i / job->table->rows) * left.panel * bytes;
    job->table->multiply_packed(smaller(job->piece_rows, p->m - i), smaller(job->piece_columns, p->n - j), p->k, left,
                                job->panels + j * p->k * (size_t)bytes,
                                (char *)p->c + ((ptrdiff_t)i * p->row + (ptrdiff_t)j * p->column) * bytes, p->row,
                                p->column, p->add);
}

static bool run(bool serial, size_t pieces, fastnn_task task, const product_job *job) {
    if (!serial) return fastnn_parallel(pieces, task, job);
    for (size_t i = 0; i < pieces; i++) task(job, i);
    return true;
}

static bool run_block(product_job *job) {
    const fastnn_product *p = &job->product;
    const size_t work = p->m * p->n * p->k;
    // What pack_left returns for no rows is where it would have packed or read them.
    job->left = job->table->pack_left(0, p->k, p->a, job->left_memory);
    job->packed_rows = rounded_up(PACKED_ROWS, job->table->rows);
    job->packed_columns = rounded_up(PACKED_ROWS, job->table->columns);
    job->left_pieces = job->left.data == p->a.data ? 0 : divided_up(p->m, job->packed_rows);
    const size_t pack_pieces = job->left_pieces + divided_up(p->n, job->packed_columns);
    if (!run((p->m + p->n) * p->k < SERIAL_PACKING, pack_pieces, pack_piece, job)) return false;

    const size_t most_rows = PIECE_TILES * job->table->rows;
    job->piece_rows = rounded_up(divided_up(p->m, divided_up(p->m, most_rows)), job->table->rows);
    const size_t wanted = PIECE_WORK > work / MOST_PIECES ? PIECE_WORK : work / MOST_PIECES;
    job->piece_columns = rounded_up(divided_up(wanted, job->piece_rows * p->k + 1), job->table->columns);
    job->pieces_down = divided_up(p->m, job->piece_rows);
    return run(work < SERIAL_WORK, job->pieces_down * divided_up(p->n, job->piece_columns), multiply_piece, job);
}

// ---- few rows ------------------------------------------------------------------------------------------------------

static bool is_few(const fastnn_gemm_table *table, const fastnn_product *p) {
    return p->m <= table->few && p->a.column == 1 && (p->b.row == 1 || p->b.column == 1);
}

static void few_piece(const void *context, size_t piece) {
    const product_job *job = context;
    const fastnn_product *p = &job->product;
    const size_t j = piece * job->piece_columns;
    job->table->multiply_few(p->m, smaller(job->piece_columns, p->n - j), p->k, p->a, from(p, p->b, 0, j),
                             (char *)p->c + (ptrdiff_t)j * p->column * (ptrdiff_t)element_bytes(p), p->row, p->column,
                             p->add);
}

// With one row it is reading b that takes the time.
static bool run_few(product_job *job) {
    const fastnn_product *p = &job->product;
    const size_t column_work = p->k * (p->m + READING_WORK), work = p->n * column_work;
    const size_t wanted = PIECE_WORK > work / MOST_PIECES ? PIECE_WORK : work / MOST_PIECES;
    job->piece_columns = work < SERIAL_WORK ? p->n : rounded_up(divided_up(wanted, column_work + 1), FEW_COLUMNS);
    return p->n == 0 || fastnn_parallel(divided_up(p->n, job->piece_columns), few_piece, job);
}

// ---- products ------------------------------------------------------------------------------------------------------

static size_t left_bytes(const fastnn_gemm_table *table, const fastnn_product *p) {
    return in_lines(table->left_size(smaller(p->m, BLOCK_M), smaller(p->k, BLOCK_K)) * element_bytes(p));
}

// c^T = b^T a^T
static fastnn_product transposed(const fastnn_product *p) {
    return (fastnn_product){.float64 = p->float64,
                            .add = p->add,
                            .m = p->n,
                            .n = p->m,
                            .k = p->k,
                            .a = {p->b.data, p->b.column, p->b.row},
                            .b = {p->a.data, p->a.column, p->a.row},
                            .c = p->c,
                            .row = p->column,
                            .column = p->row};
}

// The product, turned over where that makes it one of few rows.
static fastnn_product oriented(const fastnn_gemm_table *table, const fastnn_product *p) {
    const fastnn_product other = transposed(p);
    return !is_few(table, p) && is_few(table, &other) ? other : *p;
}

size_t fastnn_product_scratch(const fastnn_product *product) {
    const fastnn_gemm_table *table = fastnn_current(product->float64)->gemm;
    const fastnn_product p = oriented(table, product);
    if (is_few(table, &p)) return 0;
    return left_bytes(table, &p) + table->right_size(smaller(p.k, BLOCK_K), smaller(p.n, BLOCK_N)) * element_bytes(&p);
}

static bool run_blocks(product_job *job, const fastnn_product *p) {
    // Without any k there is a block all the same, which clears c.
    for (size_t j = 0; j < p->n; j += BLOCK_N) {
        for (size_t l = 0; l == 0 || l < p->k; l += BLOCK_K) {
            for (size_t i = 0; i < p->m; i += BLOCK_M) {
                job->product = *p;
                job->product.m = smaller(BLOCK_M, p->m - i);
                job->product.n = smaller(BLOCK_N, p->n - j);
                job->product.k = smaller(BLOCK_K, p->k - l);
                job->product.a = from(p, p->a, i, l);
                job->product.b = from(p, p->b, l, j);
                job->product.c =
                    (char *)p->c + ((ptrdiff_t)i * p->row + (ptrdiff_t)j * p->column) * (ptrdiff_t)element_bytes(p);
                job->product.add = p->add || l > 0;
                if (!run_block(job)) return false;
            }
        }
    }
    return true;
}

bool fastnn_run_product(const fastnn_product *product, void *scratch) {
    product_job job = {.table = fastnn_current(product->float64)->gemm, .left_memory = scratch};
    const fastnn_product p = oriented(job.table, product);
    if (is_few(job.table, &p)) {
        job.product = p;
        return run_few(&job);
    }
    job.panels = job.left_memory + left_bytes(job.table, &p);
    return run_blocks(&job, &p);
}
