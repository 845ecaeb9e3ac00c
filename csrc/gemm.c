// Matrix products over threads: the factors are packed, and the result is cut into pieces, by shape alone. It knows
// nothing of tiles but their size.
#include "gemm_kernels.h"

enum {
    // What is packed at a time, which bounds the scratch memory: blocks of the factors of so many rows, columns and k.
    BLOCK_M = 2048,
    BLOCK_N = 2048,
    BLOCK_K = 1024,
    PACKED_ROWS = 96,      // by one piece of the work, rounded up to whole panels
    SERIAL_WORK = 400000,  // from so many products of elements on threads pay
    PIECE_WORK = 2000000,
    MOST_PIECES = 64,
    PIECE_TILES = 20,  // rows of a piece: what stays in L2
};

typedef struct {
    const fastnn_gemm_table *table;
    fastnn_product product;  // a block: at most BLOCK_M x BLOCK_N x BLOCK_K
    char *left_memory, *panels;
    fastnn_left left;
    size_t left_pieces, packed_rows, packed_columns;
    size_t piece_rows, piece_columns, pieces_down;
} product_job;

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static size_t ceil_ratio(size_t a, size_t b) { return (a + b - 1) / b; }
static size_t round_up(size_t a, size_t unit) { return ceil_ratio(a, unit) * unit; }
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

static bool run(size_t work, size_t pieces, fastnn_task task, const product_job *job) {
    if (work >= SERIAL_WORK) return fastnn_parallel(pieces, task, job);
    for (size_t i = 0; i < pieces; i++) task(job, i);
    return true;
}

static bool run_block(product_job *job) {
    const fastnn_product *p = &job->product;
    const size_t work = p->m * p->n * p->k;
    // What pack_left returns for no rows is where it would have packed or read them.
    job->left = job->table->pack_left(0, p->k, p->a, job->left_memory);
    job->packed_rows = round_up(PACKED_ROWS, job->table->rows);
    job->packed_columns = round_up(PACKED_ROWS, job->table->columns);
    job->left_pieces = job->left.data == p->a.data ? 0 : ceil_ratio(p->m, job->packed_rows);
    const size_t pack_pieces = job->left_pieces + ceil_ratio(p->n, job->packed_columns);
    if (!run(work, pack_pieces, pack_piece, job)) return false;

    job->piece_rows = PIECE_TILES * job->table->rows;
    const size_t wanted = PIECE_WORK > work / MOST_PIECES ? PIECE_WORK : work / MOST_PIECES;
    job->piece_columns = round_up(ceil_ratio(wanted, smaller(p->m, job->piece_rows) * p->k + 1), job->table->columns);
    job->pieces_down = ceil_ratio(p->m, job->piece_rows);
    return run(work, job->pieces_down * ceil_ratio(p->n, job->piece_columns), multiply_piece, job);
}

// ---- products ------------------------------------------------------------------------------------------------------

static size_t left_bytes(const fastnn_gemm_table *table, const fastnn_product *p) {
    return round_up(table->left_size(smaller(p->m, BLOCK_M), smaller(p->k, BLOCK_K)) * element_bytes(p), 64);
}

size_t fastnn_product_scratch(const fastnn_product *p) {
    const fastnn_gemm_table *table = fastnn_current(p->float64)->gemm;
    return left_bytes(table, p) + table->right_size(smaller(p->k, BLOCK_K), smaller(p->n, BLOCK_N)) * element_bytes(p);
}

bool fastnn_run_product(const fastnn_product *p, void *scratch) {
    product_job job = {.table = fastnn_current(p->float64)->gemm, .left_memory = scratch};
    job.panels = job.left_memory + left_bytes(job.table, p);
    // Without any k there is a block all the same, which clears c.
    for (size_t j = 0; j < p->n; j += BLOCK_N) {
        for (size_t l = 0; l == 0 || l < p->k; l += BLOCK_K) {
            for (size_t i = 0; i < p->m; i += BLOCK_M) {
                job.product = *p;
                job.product.m = smaller(BLOCK_M, p->m - i);
                job.product.n = smaller(BLOCK_N, p->n - j);
                job.product.k = smaller(BLOCK_K, p->k - l);
                job.product.a = from(p, p->a, i, l);
                job.product.b = from(p, p->b, l, j);
                job.product.c =
                    (char *)p->c + ((ptrdiff_t)i * p->row + (ptrdiff_t)j * p->column) * (ptrdiff_t)element_bytes(p);
                job.product.add = p->add || l > 0;
                if (!run_block(&job)) return false;
            }
        }
    }
    return true;
}
