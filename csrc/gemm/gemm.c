// Matrix products over threads: the factors are packed, and the result is cut into pieces, by shape alone. Of the tiles
// of gemm_kernels.c it must know nothing but their size.
#include "gemm/gemm_kernels.h"
#include "runtime/sizes.h"

enum {
    // The block of the product that is packed and computed at a time: it bounds the scratch memory to 40 MB.
    BLOCK_M = 2048,
    BLOCK_N = 2048,
    BLOCK_K = 1024,
    // Threads pay from so many products of elements on, and from so many elements to be packed.
    SERIAL_WORK = 400000,
    SERIAL_PACKING = 50000,
    PIECE_WORK = 500000,  // products of a piece; larger if there were more than MOST_PIECES
    MOST_PIECES = 64,
    PIECE_TILES = 20,  // tiles below each other in a piece, at most
    PACKED_ROWS = 96,  // rows or columns that a piece packs, rounded up to whole panels
    READING_WORK = 4,  // few rows: reading an element of b takes as long as so many products
    FEW_COLUMNS = 64,  // few rows: the columns of a piece are a multiple of this
    SMALL_BESIDE = 8,  // a factor is small beside another one that is so many times larger
};

typedef struct {
    const fastnn_gemm_table *table;
    fastnn_product product;      // the block at hand, at most BLOCK_M x BLOCK_N x BLOCK_K; few rows: all of it
    char *left_memory, *panels;  // scratch memory for the packed factors
    fastnn_left left;
    size_t left_pieces, packed_rows, packed_columns;
    size_t piece_rows, piece_columns, pieces_down;
} product_job;

// The part of a matrix from an element on.
static fastnn_matrix from(const fastnn_gemm_table *table, fastnn_matrix matrix, size_t row, size_t column) {
    const ptrdiff_t elements = (ptrdiff_t)row * matrix.row + (ptrdiff_t)column * matrix.column;
    matrix.data = (const char *)matrix.data + elements * (ptrdiff_t)table->bytes;
    return matrix;
}

// The address of an element of c.
static char *result_at(const fastnn_gemm_table *table, const fastnn_product *p, size_t row, size_t column) {
    return (char *)p->c + ((ptrdiff_t)row * p->row + (ptrdiff_t)column * p->column) * (ptrdiff_t)table->bytes;
}

// ---- the pieces of a block -----------------------------------------------------------------------------------------

static void pack_piece(const void *context, size_t piece) {
    const product_job *job = context;
    const fastnn_product *p = &job->product;
    const size_t bytes = job->table->bytes;
    if (piece < job->left_pieces) {
        const size_t i = piece * job->packed_rows;
        job->table->pack_left(smaller(job->packed_rows, p->m - i), p->k, from(job->table, p->a, i, 0),
                              job->left_memory + job->table->left_size(i, p->k) * bytes);
    } else {
        const size_t j = (piece - job->left_pieces) * job->packed_columns;
        job->table->pack_right(p->k, smaller(job->packed_columns, p->n - j), from(job->table, p->b, 0, j),
                               job->panels + j * p->k * bytes);
    }
}

static void multiply_piece(const void *context, size_t piece) {
    const product_job *job = context;
    const fastnn_product *p = &job->product;
    const ptrdiff_t bytes = (ptrdiff_t)job->table->bytes;
    const size_t i = piece % job->pieces_down * job->piece_rows, j = piece / job->pieces_down * job->piece_columns;
    fastnn_left left = job->left;
    left.data = (const char *)left.data + (ptrdiff_t)(i / job->table->rows) * left.panel * bytes;
    job->table->multiply_packed(smaller(job->piece_rows, p->m - i), smaller(job->piece_columns, p->n - j), p->k, left,
                                job->panels + j * p->k * (size_t)bytes, result_at(job->table, p, i, j), p->row,
                                p->column, p->add);
}

static fastnn_outcome run(bool serial, size_t pieces, fastnn_task task, const product_job *job) {
    if (!serial) return fastnn_parallel(pieces, task, job);
    for (size_t i = 0; i < pieces; i++) task(job, i);
    return FASTNN_DONE;
}

static fastnn_outcome run_block(product_job *job) {
    const fastnn_product *p = &job->product;
    const size_t work = p->m * p->n * p->k;
    // For no rows pack_left packs nothing, but says whether and where it will pack the others.
    job->left = job->table->pack_left(0, p->k, p->a, job->left_memory);
    job->packed_rows = rounded_up(PACKED_ROWS, job->table->rows);
    job->packed_columns = rounded_up(PACKED_ROWS, job->table->columns);
    job->left_pieces = job->left.data == p->a.data ? 0 : divided_up(p->m, job->packed_rows);
    const size_t pack_pieces = job->left_pieces + divided_up(p->n, job->packed_columns);
    const fastnn_outcome packed = run((p->m + p->n) * p->k < SERIAL_PACKING, pack_pieces, pack_piece, job);
    if (packed != FASTNN_DONE) return packed;

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
    job->table->multiply_few(p->m, smaller(job->piece_columns, p->n - j), p->k, p->a, from(job->table, p->b, 0, j),
                             result_at(job->table, p, 0, j), p->row, p->column, p->add);
}

// Columns are cut into pieces. Reading b counts, too: with one row it takes most of the time.
static fastnn_outcome run_few(product_job *job) {
    const fastnn_product *p = &job->product;
    const size_t column_work = p->k * (p->m + READING_WORK), work = p->n * column_work;
    const size_t wanted = PIECE_WORK > work / MOST_PIECES ? PIECE_WORK : work / MOST_PIECES;
    job->piece_columns = work < SERIAL_WORK ? p->n : rounded_up(divided_up(wanted, column_work + 1), FEW_COLUMNS);
    return p->n == 0 ? FASTNN_DONE : fastnn_parallel(divided_up(p->n, job->piece_columns), few_piece, job);
}

// ---- products ------------------------------------------------------------------------------------------------------

// The same product as c^T = b^T a^T.
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

// Whether the product or its transpose has few rows; that one is then in `few`.
static bool find_few(const fastnn_gemm_table *table, const fastnn_product *p, fastnn_product *few) {
    *few = *p;
    if (is_few(table, few)) return true;
    *few = transposed(p);
    return is_few(table, few);
}

// Whether a transposed product packs much less than the product: it reads its left factor in place, and the right one
// is small beside it and whole panels. Each element of c is the same sum either way, but is written for itself.
static bool packs_less(const fastnn_gemm_table *table, const fastnn_product *turned) {
    return turned->n <= turned->m / SMALL_BESIDE && turned->n % table->columns == 0 &&
           table->pack_left(0, turned->k, turned->a, NULL).data == turned->a.data;
}

static fastnn_outcome run_blocks(product_job *job, const fastnn_product *p) {
    // There is a block even if k is 0: it clears c.
    for (size_t j = 0; j < p->n; j += BLOCK_N) {
        for (size_t l = 0; l == 0 || l < p->k; l += BLOCK_K) {
            for (size_t i = 0; i < p->m; i += BLOCK_M) {
                job->product = *p;
                job->product.m = smaller(BLOCK_M, p->m - i);
                job->product.n = smaller(BLOCK_N, p->n - j);
                job->product.k = smaller(BLOCK_K, p->k - l);
                job->product.a = from(job->table, p->a, i, l);
                job->product.b = from(job->table, p->b, l, j);
                job->product.c = result_at(job->table, p, i, j);
                job->product.add = p->add || l > 0;
                const fastnn_outcome outcome = run_block(job);
                if (outcome != FASTNN_DONE) return outcome;
            }
        }
    }
    return FASTNN_DONE;
}

// Scratch memory for the packed factors of a block is allocated for the whole call.
static fastnn_outcome run_packed(product_job *job, const fastnn_product *p) {
    const size_t m = smaller(p->m, BLOCK_M), n = smaller(p->n, BLOCK_N), k = smaller(p->k, BLOCK_K);
    const size_t left_bytes = in_lines(job->table->left_size(m, k) * job->table->bytes);
    job->left_memory = fastnn_allocate(left_bytes + job->table->right_size(k, n) * job->table->bytes);
    if (job->left_memory == NULL) return FASTNN_NO_MEMORY;
    job->panels = job->left_memory + left_bytes;
    const fastnn_outcome outcome = run_blocks(job, p);
    fastnn_release(job->left_memory);
    return outcome;
}

fastnn_outcome fastnn_run_product(const fastnn_product *product) {
    product_job job = {.table = fastnn_current(product->float64)->gemm};
    if (find_few(job.table, product, &job.product)) return run_few(&job);
    const fastnn_product turned = transposed(product);
    return run_packed(&job, packs_less(job.table, &turned) ? &turned : product);
}
