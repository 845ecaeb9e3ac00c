// Chains over whole arrays: how they are cut into pieces for the threads and tiles for L1, and batch norm's statistics.
//
// Batch norm in training visits a channel twice, forward (its moments, then the tiles) and backward (two sums, then
// dx). In planes, a piece is a few channels, whole, so that the second visit finds them in cache and memory is read
// once. Few or large channels are cut, and columns are: there all pieces of the first pass come before those of the
// second. Where the cuts are depends on the shape alone.
#include <math.h>
#include <string.h>

#include "chain/chain.h"
#include "runtime/sizes.h"
#include "runtime/streaming.h"

enum {
    SERIAL_ELEMENTS = 32768,   // up to here the calling thread works alone
    SLAB_BYTES = 2 << 20,      // the largest channel that is not cut: it stays in the outer cache
    GROUP_BYTES = 256 << 10,   // of the channels of a group: they stay in L2
    FEW_CHANNELS = 4,          // are cut
    CHANNEL_PIECE_TILES = 16,  // in a piece of a channel that is cut
    WIDE = 64,                 // columns: rows are taken together until they are as wide, if they come out even
    PREFETCH_BYTES = 4 << 20,  // of an array: from here on asking for the next tile pays
    LEAST_ROWS = 64,           // columns: in a piece
};

typedef struct {
    fastnn_run run;
    const char *x, *dy;
    char *out;           // y or dx
    size_t size, count;  // bytes of an element; elements
    size_t tile;         // elements in a tile
    bool prefetch;       // a tile is asked for before the one before it is computed
    bool stream;         // the result goes past the caches
    bool again;          // backward: the second pass finds g itself, the first does not leave it in dx
    // Of all tiles in the order of memory:
    size_t tiles, piece_tiles, pieces;
    // Columns: elements in a row, or in the rows that are taken together; rows of that width, in all and in a piece.
    size_t width, rows, piece_rows;
    // Planes: channels in a group, or 0 if channels are cut; pieces of each channel that is cut, and their tiles.
    size_t group, channel_pieces, channel_tiles;
    char *rstd;       // as the computing dtype has it
    char *a, *b, *c;  // backward: dx = a g + b ((x - center) rstd) + c
    double *const *total;
    double *partial;
} channel_job;

// ---- tiles ---------------------------------------------------------------------------------------------------------

// Planes: the tiles of channels first ... end - 1, sample by sample.
static size_t plane_tiles(const channel_job *job, size_t first, size_t end) {
    const fastnn_chain *chain = job->run.chain;
    if (chain->inner >= job->tile) return chain->outer * (end - first) * divided_up(chain->inner, job->tile);
    return chain->outer * divided_up(end - first, job->tile / chain->inner);
}
static fastnn_tile plane_tile(const channel_job *job, size_t first, size_t end, size_t index) {
    const fastnn_chain *chain = job->run.chain;
    const size_t inner = chain->inner, channels = end - first;
    if (inner >= job->tile) {
        const size_t cuts = divided_up(inner, job->tile), plane = index / cuts, start = index % cuts * job->tile;
        const size_t channel = first + plane % channels;
        const size_t offset = (plane / channels * chain->channels + channel) * inner + start;
        return (fastnn_tile){offset, 1, smaller(job->tile, inner - start), channel};
    }
    const size_t rows = job->tile / inner, each = divided_up(channels, rows), channel = first + index % each * rows;
    const size_t offset = (index / each * chain->channels + channel) * inner;
    return (fastnn_tile){offset, smaller(rows, end - channel), inner, channel};
}

static size_t column_tiles(const channel_job *job, size_t rows) {
    return job->width > job->tile ? rows * divided_up(job->width, job->tile) : divided_up(rows, job->tile / job->width);
}
static fastnn_tile column_tile(const channel_job *job, size_t index) {
    const size_t width = job->width;
    if (width > job->tile) {
        const size_t cuts = divided_up(width, job->tile), start = index % cuts * job->tile;
        return (fastnn_tile){index / cuts * width + start, 1, smaller(job->tile, width - start), start};
    }
    const size_t rows = job->tile / width, row = index * rows;
    return (fastnn_tile){row * width, smaller(rows, job->rows - row), width, 0};
}

// ---- what belongs to a channel -------------------------------------------------------------------------------------

static double element(const channel_job *job, const void *array, size_t i, double otherwise) {
    if (array == NULL) return otherwise;
    return job->size == 8 ? ((const double *)array)[i] : (double)((const float *)array)[i];
}
// In columns, for each of the rows that are taken together.
static void set_element(const channel_job *job, char *array, size_t channel, double value) {
    for (size_t i = channel; i < job->width; i += job->run.chain->channels) {
        if (job->size == 8)
            ((double *)array)[i] = value;
        else
            ((float *)array)[i] = (float)value;
    }
}

// The mean as a number of the computing dtype is off by what may be large beside the deviations; shift has the rest.
static double center_of(const channel_job *job, double mean) { return job->size == 8 ? mean : (double)(float)mean; }
static double mean_of(const fastnn_chain *chain, size_t channel) { return chain->mean ? chain->mean[channel] : 0; }
static double rest_of(const fastnn_chain *chain, size_t channel) { return chain->rest ? chain->rest[channel] : 0; }
static double rstd_of(const fastnn_chain *chain, size_t channel) { return chain->rstd ? chain->rstd[channel] : 1; }

// A part of small calls, so the computing dtype is decided outside the loop.
#define SET_SCALING(real)                                                                                 \
    {                                                                                                     \
        const real *weight = chain->weight, *bias = chain->bias;                                          \
        real *rstd = (real *)job->rstd, *center = (real *)job->run.scaling.center;                        \
        real *scale = (real *)job->run.scaling.scale, *shift = (real *)job->run.scaling.shift;            \
        for (size_t c = first; c < end; c++) {                                                            \
            const double mean = mean_of(chain, c), factor = (weight ? weight[c] : 1) * rstd_of(chain, c); \
            center[c] = (real)mean;                                                                       \
            rstd[c] = (real)rstd_of(chain, c);                                                            \
            scale[c] = (real)factor;                                                                      \
            shift[c] = (real)((bias ? bias[c] : 0) - ((mean - center[c]) + rest_of(chain, c)) * factor);  \
        }                                                                                                 \
    }
// In columns, what belongs to a row stands there for each of the rows that are taken together.
static void repeat_rows(const channel_job *job, char *array) {
    const size_t row = job->run.chain->channels * job->size;
    for (size_t at = row; at < job->width * job->size; at += row) memcpy(array + at, array, row);
}
static void set_scaling(const channel_job *job, size_t first, size_t end) {
    const fastnn_chain *chain = job->run.chain;
    if (!chain->scaled) return;
    if (job->size == 8)
        SET_SCALING(double)
    else
        SET_SCALING(float)
    char *const arrays[] = {job->rstd, job->run.scaling.center, job->run.scaling.scale, job->run.scaling.shift};
    for (int i = 0; i < 4 && chain->columns; i++) repeat_rows(job, arrays[i]);
}

static void set_statistics(const channel_job *job, size_t channel, fastnn_moments moments) {
    const fastnn_chain *chain = job->run.chain;
    chain->mean[channel] = moments.mean;
    chain->rest[channel] = moments.rest;
    chain->variance[channel] = moments.m2 / moments.count;
    chain->rstd[channel] = 1 / sqrt(chain->variance[channel] + chain->eps);
}

// From the sums of g and of g (x - center) rstd to dbias and dweight, and to the numbers of the second pass: with xhat
// the normalised x, dx = weight rstd (g - mean of g - xhat mean of g xhat).
static void set_gradient(const channel_job *job, size_t channel, double sum, double product) {
    const fastnn_chain *chain = job->run.chain;
    const double mean = mean_of(chain, channel), rstd = rstd_of(chain, channel);
    const double rest = ((mean - center_of(job, mean)) + rest_of(chain, channel)) * rstd;
    const double dweight = product - rest * sum;
    job->total[0][channel] = sum;
    job->total[1][channel] = dweight;
    if (!chain->training) return;
    const double scale = element(job, chain->weight, channel, 1) * rstd, count = (double)(chain->outer * chain->inner);
    set_element(job, job->a, channel, scale);
    set_element(job, job->b, channel, -scale * (dweight / count));
    set_element(job, job->c, channel, scale * (rest * (dweight / count) - sum / count));
}

// ---- visits of a tile ----------------------------------------------------------------------------------------------

// `sums`: where those of the tile's first channel are; NULL: none are wanted.
typedef void tile_work(const channel_job *job, const fastnn_tile *tile, double *const *sums);

// Where a tile of the result is computed: where it belongs, or in `scratch` if the result is streamed past the caches.
static void *target(const channel_job *job, const fastnn_tile *tile, void *scratch) {
    return job->stream ? scratch : job->out + tile->offset * job->size;
}
// Brings a tile to where it belongs. Streaming wants whole lines, so the ends are stored plainly.
static void deliver(const channel_job *job, const fastnn_tile *tile, const void *from) {
    char *to = job->out + tile->offset * job->size;
    if (from == to) return;
    const size_t count = tile->rows * tile->n, head = smaller((size_t)(-(uintptr_t)to) % LINE / job->size, count);
    memcpy(to, from, head * job->size);
    job->run.tables->elementwise->stream_copy(count - head, to + head * job->size,
                                              (const char *)from + head * job->size);
}

static void normalise(const channel_job *job, const fastnn_tile *tile, double *const *sums) {
    _Alignas(LINE) char scratch[CHAIN_TILE_BYTES];
    void *y = target(job, tile, scratch);
    (void)sums;
    fastnn_tile_forward(&job->run, tile, job->x, y);
    deliver(job, tile, y);
}

// The first pass backward. Where dx does not wait for the sums, it is finished here.
static void differentiate(const channel_job *job, const fastnn_tile *tile, double *const *sums) {
    _Alignas(LINE) char scratch[CHAIN_TILE_BYTES];
    const fastnn_chain *chain = job->run.chain;
    const fastnn_channel_table *table = job->run.tables->channel;
    const size_t at = tile->channel * job->size, start = tile->offset * job->size;
    void *to = target(job, tile, scratch);
    const void *g = fastnn_tile_backward(&job->run, tile, job->dy, job->x, to);
    if (sums != NULL)
        table->sums[chain->columns](tile->rows, tile->n, g, job->x + start, job->run.scaling.center + at,
                                    job->rstd + at, sums);
    if (chain->training) return;
    if (chain->scaled && (chain->rstd != NULL || chain->weight != NULL)) {
        table->scale[chain->columns](tile->rows, tile->n, to, g, job->c + at, job->run.scaling.scale + at, job->c + at);
        g = to;
    }
    deliver(job, tile, g);
}

// The second pass backward. The first has left g in dx, or where dx is streamed it is computed again.
static void subtract_means(const channel_job *job, const fastnn_tile *tile, double *const *sums) {
    _Alignas(LINE) char scratch[CHAIN_TILE_BYTES];
    const fastnn_chain *chain = job->run.chain;
    const size_t at = tile->channel * job->size, start = tile->offset * job->size;
    void *to = target(job, tile, scratch);
    const void *g = job->again ? fastnn_tile_backward(&job->run, tile, job->dy, job->x, to) : job->out + start;
    (void)sums;
    job->run.tables->channel->gradient[chain->columns](tile->rows, tile->n, to, g, job->x + start,
                                                       job->run.scaling.center + at, job->rstd + at, job->a + at,
                                                       job->b + at, job->c + at);
    deliver(job, tile, to);
}

// ---- passes --------------------------------------------------------------------------------------------------------

// Some of the tiles of some channels; in columns of all.
typedef struct {
    size_t first, end;  // channels
    size_t from, to;    // tiles
} tile_range;

static fastnn_tile tile_at(const channel_job *job, const tile_range *range, size_t i) {
    if (job->run.chain->columns) return column_tile(job, range->from + i);
    return plane_tile(job, range->first, range->end, range->from + i);
}

// Asks for a tile of what a pass reads.
static void prefetch(const channel_job *job, const fastnn_tile *tile) {
    const size_t start = tile->offset * job->size, bytes = tile->rows * tile->n * job->size;
    fastnn_prefetch(job->x + start, bytes);
    if (job->dy != NULL) fastnn_prefetch(job->dy + start, bytes);
}

// `sums`: of the range's first channel and those after it; NULL: none are wanted.
static void visit_range(const channel_job *job, tile_range range, tile_work *work, double *const *sums) {
    fastnn_tile next = tile_at(job, &range, 0);
    for (size_t i = 0, count = range.to - range.from; i < count; i++) {
        const fastnn_tile tile = next;
        if (i + 1 < count) {
            next = tile_at(job, &range, i + 1);
            if (job->prefetch) prefetch(job, &next);
        }
        const size_t channel = tile.channel - range.first;
        work(job, &tile, sums ? (double *[]){sums[0] + channel, sums[1] + channel} : NULL);
    }
    if (job->stream) __atomic_thread_fence(__ATOMIC_SEQ_CST);  // streaming stores are not ordered by themselves
}

static bool run(const channel_job *job, size_t pieces, fastnn_task task, const void *context) {
    if (job->count > SERIAL_ELEMENTS) return fastnn_parallel(pieces, task, context);
    for (size_t piece = 0; piece < pieces; piece++) task(context, piece);
    return true;
}

typedef struct {
    const channel_job *job;
    tile_work *work;
    bool sums;  // columns: into the piece's own
} tile_pass;

static void run_piece(const void *context, size_t piece) {
    const tile_pass *pass = context;
    const channel_job *job = pass->job;
    const size_t from = piece * job->piece_tiles, to = smaller(from + job->piece_tiles, job->tiles);
    double *const partial = pass->sums ? job->partial + 2 * job->width * piece : NULL;
    if (pass->sums) memset(partial, 0, 2 * job->width * sizeof *partial);
    visit_range(job, (tile_range){0, job->run.chain->channels, from, to}, pass->work,
                pass->sums ? (double *[]){partial, partial + job->width} : NULL);
}
static bool visit_all(const channel_job *job, tile_work *work, bool sums) {
    return run(job, job->pieces, run_piece, &(tile_pass){job, work, sums});
}

// ---- planes --------------------------------------------------------------------------------------------------------

static void forward_group(const void *context, size_t piece) {
    const channel_job *job = context;
    const fastnn_chain *chain = job->run.chain;
    const size_t first = piece * job->group, end = smaller(first + job->group, chain->channels);
    for (size_t c = first; c < end; c++) {
        fastnn_moments moments = {0, 0, 0, 0};
        job->run.tables->channel->plane_moments(chain->outer, chain->channels * chain->inner, chain->inner,
                                                job->x + c * chain->inner * job->size, &moments);
        set_statistics(job, c, moments);
    }
    set_scaling(job, first, end);
    visit_range(job, (tile_range){first, end, 0, plane_tiles(job, first, end)}, normalise, NULL);
}

static void backward_group(const void *context, size_t piece) {
    const channel_job *job = context;
    const fastnn_chain *chain = job->run.chain;
    const size_t first = piece * job->group, end = smaller(first + job->group, chain->channels);
    double *const *total = job->total;
    const tile_range range = {first, end, 0, plane_tiles(job, first, end)};
    visit_range(job, range, differentiate, (double *[]){total[0] + first, total[1] + first});
    for (size_t c = first; c < end; c++) set_gradient(job, c, total[0][c], total[1][c]);
    if (chain->training) visit_range(job, range, subtract_means, NULL);
}

// A piece of a channel that is cut.
static tile_range piece_of_channel(const channel_job *job, size_t piece) {
    const size_t channel = piece / job->channel_pieces, from = piece % job->channel_pieces * job->channel_tiles;
    const size_t tiles = plane_tiles(job, channel, channel + 1);
    return (tile_range){channel, channel + 1, from, smaller(from + job->channel_tiles, tiles)};
}

static void find_moments(const void *context, size_t piece) {
    const channel_job *job = context;
    const tile_range range = piece_of_channel(job, piece);
    fastnn_moments moments = {0, 0, 0, 0};
    for (size_t i = 0; i < range.to - range.from; i++) {
        const fastnn_tile tile = tile_at(job, &range, i);
        job->run.tables->channel->plane_moments(1, 0, tile.n, job->x + tile.offset * job->size, &moments);
    }
    ((fastnn_moments *)job->partial)[piece] = moments;
}

static void find_sums(const void *context, size_t piece) {
    const channel_job *job = context;
    double *const sums[] = {job->partial + 2 * piece, job->partial + 2 * piece + 1};
    *sums[0] = *sums[1] = 0;
    visit_range(job, piece_of_channel(job, piece), differentiate, sums);
}

static bool plane_statistics(const channel_job *job) {
    const size_t channels = job->run.chain->channels, pieces = job->channel_pieces;
    if (!run(job, channels * pieces, find_moments, job)) return false;
    for (size_t c = 0; c < channels; c++) {
        fastnn_moments all = {0, 0, 0, 0};
        for (size_t i = 0; i < pieces; i++) all = merge_moments(all, ((fastnn_moments *)job->partial)[c * pieces + i]);
        set_statistics(job, c, all);
    }
    return true;
}

static bool plane_sums(const channel_job *job) {
    const size_t channels = job->run.chain->channels, pieces = job->channel_pieces;
    if (!run(job, channels * pieces, find_sums, job)) return false;
    for (size_t c = 0; c < channels; c++) {
        double sum = 0, product = 0;
        for (size_t i = c * pieces; i < (c + 1) * pieces; i++) {
            sum += job->partial[2 * i];
            product += job->partial[2 * i + 1];
        }
        set_gradient(job, c, sum, product);
    }
    return true;
}

// ---- columns -------------------------------------------------------------------------------------------------------

// The means, rests and m2 of a piece's columns.
static void column_partial(const channel_job *job, size_t piece, double *arrays[3]) {
    for (size_t i = 0; i < 3; i++) arrays[i] = job->partial + (3 * piece + i) * job->width;
}

static void find_column_moments(const void *context, size_t piece) {
    const channel_job *job = context;
    const size_t width = job->width, first = piece * job->piece_rows;
    double *moments[3];
    column_partial(job, piece, moments);
    job->run.tables->channel->column_moments(smaller(job->piece_rows, job->rows - first), width, width,
                                             job->x + first * width * job->size, 0, moments);
}

static bool column_statistics(const channel_job *job) {
    if (!run(job, job->pieces, find_column_moments, job)) return false;
    double *all[3], *some[3];
    column_partial(job, 0, all);
    for (size_t piece = 1; piece < job->pieces; piece++) {
        const size_t before = piece * job->piece_rows, rows = smaller(job->piece_rows, job->rows - before);
        column_partial(job, piece, some);
        job->run.tables->channel->merge_columns(job->width, (double)before, all, (double)rows, some);
    }
    for (size_t c = 0; c < job->run.chain->channels; c++) {
        fastnn_moments channel = {0, 0, 0, 0};
        for (size_t i = c; i < job->width; i += job->run.chain->channels)
            channel = merge_moments(channel, (fastnn_moments){(double)job->rows, all[0][i], all[1][i], all[2][i]});
        set_statistics(job, c, channel);
    }
    return true;
}

static bool column_sums(const channel_job *job) {
    if (!visit_all(job, differentiate, true)) return false;
    const size_t width = job->width;
    for (size_t piece = 1; piece < job->pieces; piece++)
        for (size_t i = 0; i < 2 * width; i++) job->partial[i] += job->partial[2 * width * piece + i];
    for (size_t c = 0; c < job->run.chain->channels; c++) {
        double sum = 0, product = 0;
        for (size_t i = c; i < width; i += job->run.chain->channels) {
            sum += job->partial[i];
            product += job->partial[width + i];
        }
        set_gradient(job, c, sum, product);
    }
    return true;
}

// ---- calls ---------------------------------------------------------------------------------------------------------

static void cut_planes(channel_job *job) {
    const fastnn_chain *chain = job->run.chain;
    const size_t slab = chain->outer * chain->inner * job->size;
    job->width = chain->channels;
    job->tiles = plane_tiles(job, 0, chain->channels);
    job->piece_tiles = divided_up(fastnn_piece_elements(job->count), divided_up(job->count, job->tiles));
    if (slab <= SLAB_BYTES && chain->channels >= FEW_CHANNELS) {
        job->group = larger(1, smaller(job->tile / chain->inner, GROUP_BYTES / slab));
    } else {
        const size_t tiles = plane_tiles(job, 0, 1);
        job->channel_tiles = larger(CHANNEL_PIECE_TILES, CHANNEL_PIECE_TILES * job->tile / chain->inner);
        job->channel_pieces = divided_up(tiles, job->channel_tiles);
    }
}

static void cut_columns(channel_job *job) {
    const fastnn_chain *chain = job->run.chain;
    job->rows = chain->outer * chain->inner;
    for (job->width = chain->channels; job->width < WIDE && job->rows % 2 == 0; job->width *= 2) job->rows /= 2;
    const size_t together = job->width > job->tile ? 1 : job->tile / job->width;  // rows in a tile
    job->piece_rows =
        divided_up(larger(LEAST_ROWS, fastnn_piece_elements(job->count) / job->width), together) * together;
    job->pieces = divided_up(job->rows, job->piece_rows);
    job->tiles = column_tiles(job, job->rows);
    job->piece_tiles = column_tiles(job, job->piece_rows);
}

// Outputs that are inputs too are in the cache already; streaming is for elements that lie as they should.
static bool can_stream(const channel_job *job, const char *x, const char *dy, const char *out) {
    const size_t arrays = dy == NULL ? 2 : 3;
    return arrays * job->count * job->size >= FASTNN_STREAM_BYTES && out != x && out != dy &&
           (uintptr_t)out % job->size == 0;
}

enum { CHANNEL_ARRAYS = 7 };

static channel_job make_job(const fastnn_chain *chain) {
    channel_job job = {
        .run = {.chain = chain, .tables = fastnn_current(chain->float64)},
        .size = chain->float64 ? 8 : 4,
        .count = chain->outer * chain->channels * chain->inner,
    };
    job.tile = CHAIN_TILE_BYTES / job.size;
    (chain->columns ? cut_columns : cut_planes)(&job);
    job.pieces = divided_up(job.tiles, job.piece_tiles);
    return job;
}

// Three or four for each piece and what it has sums of: moments, or two sums.
static size_t partial_numbers(const channel_job *job) {
    const fastnn_chain *chain = job->run.chain;
    return chain->columns ? 3 * job->width * job->pieces : 4 * chain->channels * job->channel_pieces;
}

// Arrays that are read together begin at different places in a page: where the last 12 bits of two addresses are the
// same, a load waits for a store that it has nothing to do with.
static size_t array_bytes(const channel_job *job) { return job->width * job->size + 3 * LINE; }

static bool is_empty(const fastnn_chain *chain) { return chain->outer * chain->channels * chain->inner == 0; }

size_t fastnn_chain_workspace(const fastnn_chain *chain) {
    if (is_empty(chain)) return 0;
    const channel_job job = make_job(chain);
    return partial_numbers(&job) * sizeof(double) + CHANNEL_ARRAYS * array_bytes(&job);
}

static bool changes_gradient(const fastnn_chain *chain) {
    for (int k = 0; k < chain->stages; k++)
        if (chain->stage[k].kind != FASTNN_ADD) return true;
    return false;
}

static void place(channel_job *job, const char *x, const char *dy, char *out, char *workspace) {
    const fastnn_chain *chain = job->run.chain;
    char **const arrays[CHANNEL_ARRAYS] = {&job->run.scaling.center,
                                           &job->run.scaling.scale,
                                           &job->run.scaling.shift,
                                           &job->rstd,
                                           &job->a,
                                           &job->b,
                                           &job->c};
    job->x = x;
    job->dy = dy;
    job->out = out;
    job->prefetch = job->count * job->size >= PREFETCH_BYTES;
    job->stream = can_stream(job, x, dy, out);
    job->again = job->stream || !changes_gradient(chain);
    job->partial = (double *)workspace;
    workspace += partial_numbers(job) * sizeof(double);
    for (int i = 0; i < CHANNEL_ARRAYS; i++) *arrays[i] = workspace + (size_t)i * array_bytes(job);
}

bool fastnn_chain_forward(const fastnn_chain *chain, const void *x, void *y, void *workspace) {
    if (is_empty(chain)) return true;
    channel_job job = make_job(chain);
    place(&job, x, NULL, y, workspace);
    if (chain->training && job.group > 0) return run(&job, divided_up(chain->channels, job.group), forward_group, &job);
    if (chain->training && !(chain->columns ? column_statistics : plane_statistics)(&job)) return false;
    set_scaling(&job, 0, chain->channels);
    return visit_all(&job, normalise, false);
}

bool fastnn_chain_backward(const fastnn_chain *chain, const void *dy, const void *x, void *dx, double *const *sums,
                           void *workspace) {
    if (sums != NULL)
        for (size_t c = 0; c < chain->channels; c++) sums[0][c] = sums[1][c] = 0;
    if (is_empty(chain)) return true;
    channel_job job = make_job(chain);
    place(&job, x, dy, dx, workspace);
    job.total = sums;
    set_scaling(&job, 0, chain->channels);
    memset(job.c, 0, job.width * job.size);
    if (sums == NULL) return visit_all(&job, differentiate, false);
    if (job.group > 0) return run(&job, divided_up(chain->channels, job.group), backward_group, &job);
    if (!(chain->columns ? column_sums : plane_sums)(&job)) return false;
    return !chain->training || visit_all(&job, subtract_means, false);
}

#define UPDATE(T)                                                                                        \
    for (size_t c = 0; c < channels; c++) {                                                              \
        T *to[] = {(T *)running_mean + c, (T *)running_var + c};                                         \
        const double batch[] = {mean[c], factor * variance[c]};                                          \
        if (skip && !(isfinite((T)batch[0]) && isfinite((T)batch[1]))) continue;                         \
        for (int i = 0; i < 2; i++) *to[i] = (T)((1 - momentum) * (double)*to[i] + momentum * batch[i]); \
    }
void fastnn_evaluation(bool float64, size_t channels, double eps, const void *running_mean, const void *running_var,
                       double *mean, double *rstd) {
    for (size_t c = 0; c < channels; c++) {
        mean[c] = float64 ? ((const double *)running_mean)[c] : ((const float *)running_mean)[c];
        rstd[c] = float64 ? ((const double *)running_var)[c] : ((const float *)running_var)[c];
    }
    for (size_t c = 0; c < channels; c++) rstd[c] = 1 / sqrt(rstd[c] + eps);
}

void fastnn_update_running(bool float64, size_t channels, void *running_mean, void *running_var, const double *mean,
                           const double *variance, double factor, double momentum, bool skip) {
    if (float64) {
        UPDATE(double)
    } else {
        UPDATE(float)
    }
}
