// Dropout of arrays, tile by tile: the bits that say which elements are kept are drawn into L1 and used at once, never
// stored. How arrays are cut depends on the shape alone.
#include <string.h>

#include "random/random_kernels.h"
#include "runtime/sizes.h"
#include "runtime/streaming.h"
#include "runtime/tiles.h"

enum {
    SERIAL_ELEMENTS = 32768,   // from so many elements on several threads are faster than one
    PREFETCH_BYTES = 1 << 20,  // from so many bytes of arrays on prefetching the next tile pays
};

typedef struct {
    const fastnn_table *table;
    const fastnn_random_table *random;
    fastnn_dropout dropout;
    size_t count, unit;
    size_t size;  // of an element
    bool prefetch, stream;
    fastnn_view y, x;
} dropout_job;

static size_t piece_elements(size_t count) { return count < SERIAL_ELEMENTS ? count : fastnn_piece_elements(count); }

static fastnn_outcome run_pieces(size_t count, fastnn_task task, const void *job) {
    const size_t piece = piece_elements(count);
    return count == 0 ? FASTNN_DONE : fastnn_parallel(divided_up(count, piece), task, job);
}

// ---- which elements are kept ---------------------------------------------------------------------------------------

typedef union {
    uint8_t bytes[TILE_ELEMENTS / 8 + 64];  // with the room that keep_bits wants
    uint64_t words[TILE_ELEMENTS / 64];
} tile_bits;

// Sets bits from ... to - 1.
static void set_bits(uint64_t *words, size_t from, size_t to) {
    for (size_t next; from < to; from = next) {
        next = smaller(to, (from / 64 + 1) * 64);
        words[from / 64] |= ~(uint64_t)0 >> (64 - (next - from)) << from % 64;
    }
}

// The bits of elements first ... first + count - 1. All elements of a unit have the bit of its one draw.
static void draw_bits(const dropout_job *job, size_t first, size_t count, tile_bits *bits) {
    const fastnn_dropout *dropout = &job->dropout;
    if (job->unit == 1) {
        job->random->keep_bits(dropout, dropout->first + first, count, bits->bytes);
        return;
    }
    tile_bits units;
    const size_t first_unit = first / job->unit, last_unit = (first + count - 1) / job->unit, end = first + count;
    job->random->keep_bits(dropout, dropout->first + first_unit, last_unit - first_unit + 1, units.bytes);
    memset(bits->words, 0, sizeof bits->words);
    for (size_t unit = first_unit, from = first; unit <= last_unit; unit++) {
        const size_t to = smaller((unit + 1) * job->unit, end), i = unit - first_unit;
        if (units.bytes[i / 8] >> i % 8 & 1) set_bits(bits->words, from - first, to - first);
        from = to;
    }
}

// ---- y = kept ? scale x + shift : dropped --------------------------------------------------------------------------

static void mask(const dropout_job *job, size_t first, size_t count, void *y, const void *x) {
    const fastnn_dropout *d = &job->dropout;
    tile_bits bits;
    draw_bits(job, first, count, &bits);
    if (d->shift == 0 && d->dropped == 0)
        job->random->mask(count, y, x, bits.bytes, d->scale);
    else
        job->random->mask_line(count, y, x, bits.bytes, d->scale, d->shift, d->dropped);
}

static void run_tile(const dropout_job *job, size_t first, size_t count) {
    _Alignas(LINE) char from[TILE_BYTES], to[TILE_BYTES];
    const void *x = fastnn_gather(job->table, &job->x, first, count, from);
    void *y = fastnn_target(&job->y, first, count, to);
    mask(job, first, count, y, x);
    fastnn_scatter(job->table, &job->y, first, count, y);
}

static char *y_at(const dropout_job *job, size_t i) { return job->y.operand.data + i * job->size; }
static const char *x_at(const dropout_job *job, size_t i) { return job->x.operand.data + i * job->size; }

static void stream_tile(const dropout_job *job, size_t first, size_t count) {
    _Alignas(LINE) char tile[TILE_BYTES];
    mask(job, first, count, tile, x_at(job, first));
    fastnn_stream_tile(job->table, job->size, count, y_at(job, first), tile);
}

static void run_piece(const void *context, size_t index) {
    const dropout_job *job = context;
    const size_t piece = piece_elements(job->count), end = smaller((index + 1) * piece, job->count);
    for (size_t first = index * piece, count; first < end; first += count) {
        count = job->stream ? fastnn_streamed_elements(y_at(job, first), job->size, TILE_ELEMENTS) : TILE_ELEMENTS;
        count = smaller(count, end - first);
        if (job->prefetch) fastnn_prefetch(x_at(job, first + count), TILE_ELEMENTS * job->size);
        if (job->stream)
            stream_tile(job, first, count);
        else
            run_tile(job, first, count);
    }
    if (job->stream) fastnn_finish_streaming();
}

fastnn_outcome fastnn_run_dropout(const fastnn_map *map, const fastnn_dropout *dropout, size_t unit) {
    dropout_job job = {
        .table = fastnn_current_table(map->float64),
        .random = fastnn_current(map->float64)->random,
        .dropout = *dropout,
        .count = 1,
        .unit = unit,
        .size = map->float64 ? 8 : 4,
    };
    const fastnn_operand *y = &map->operands[0], *x = &map->operands[1];
    for (int d = 0; d < map->dims; d++) job.count *= map->shape[d];
    fastnn_make_view(&job.y, y, map->float64, map->dims, map->shape, y->strides);
    fastnn_make_view(&job.x, x, map->float64, map->dims, map->shape, x->strides);
    const size_t bytes = 2 * job.count * job.size;
    job.prefetch = bytes >= PREFETCH_BYTES && fastnn_is_contiguous(&job.x);
    job.stream = job.prefetch && fastnn_is_contiguous(&job.y) &&
                 fastnn_should_stream(bytes, y->data, job.size, (const void *[]){x->data}, 1);
    return run_pieces(job.count, run_piece, &job);
}

// ---- masks ---------------------------------------------------------------------------------------------------------

typedef struct {
    const fastnn_random_table *random;
    const fastnn_dropout *dropout;
    size_t count;
    bool packed;
    uint8_t *mask;
} mask_job;

// Bit i of `bits` becomes byte i, 0 or 1.
static uint64_t spread(uint8_t bits) {
    const uint64_t each = bits * 0x0101010101010101u & 0x8040201008040201u;
    return (each + 0x7f7f7f7f7f7f7f7fu) >> 7 & 0x0101010101010101u;
}

static void spread_bits(const uint8_t *bits, size_t count, uint8_t *bytes) {
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const uint64_t word = spread(bits[i / 8]);
        memcpy(bytes + i, &word, 8);
    }
    const uint64_t word = spread(bits[i / 8]);
    memcpy(bytes + i, &word, count - i);
}

static void mask_piece(const void *context, size_t index) {
    const mask_job *job = context;
    const size_t piece = piece_elements(job->count), end = smaller((index + 1) * piece, job->count);
    for (size_t i = index * piece; i < end; i += TILE_ELEMENTS) {
        const size_t count = smaller(TILE_ELEMENTS, end - i);
        tile_bits bits;
        job->random->keep_bits(job->dropout, job->dropout->first + i, count, bits.bytes);
        if (job->packed) {
            if (count % 8 > 0) bits.bytes[count / 8] &= (uint8_t)((1 << count % 8) - 1);
            memcpy(job->mask + i / 8, bits.bytes, (count + 7) / 8);
        } else {
            spread_bits(bits.bytes, count, job->mask + i);
        }
    }
}

fastnn_outcome fastnn_run_dropout_mask(const fastnn_dropout *dropout, size_t count, bool packed, uint8_t *mask) {
    const mask_job job = {fastnn_current(false)->random, dropout, count, packed, mask};
    return run_pieces(count, mask_piece, &job);
}
