// See tiles.h.
#include "runtime/tiles.h"
#include "runtime/sizes.h"

#include <string.h>

static bool is_half(fastnn_dtype dtype) { return dtype >= FASTNN_FLOAT16; }

static size_t item_size(const fastnn_view *view) {
    return is_half(view->operand.dtype) ? 2 : view->operand.dtype == FASTNN_FLOAT64 ? 8 : 4;
}

void fastnn_make_view(fastnn_view *view, const fastnn_operand *operand, bool float64, int dims, const size_t *shape,
                      const ptrdiff_t *strides) {
    view->operand = *operand;
    view->float64 = float64;
    int last = -1;
    for (int d = 0; d < dims; d++) {
        if (shape[d] == 1) continue;
        if (last < 0 || view->strides[last] != strides[d] * (ptrdiff_t)shape[d]) view->shape[++last] = 1;
        view->shape[last] *= shape[d];
        view->strides[last] = strides[d];
    }
    view->dims = last + 1;
}

// The address of element `index`; `run`: how many elements there are from it on along the last dimension.
static char *locate(const fastnn_view *view, size_t index, size_t *run) {
    char *address = view->operand.data;
    *run = 1;
    for (int d = view->dims - 1; d >= 0; d--) {
        const size_t coordinate = d > 0 ? index % view->shape[d] : index;
        address += (ptrdiff_t)coordinate * view->strides[d];
        if (d == view->dims - 1) *run = view->shape[d] - coordinate;
        index /= view->shape[d];
    }
    return address;
}

static ptrdiff_t last_stride(const fastnn_view *view) { return view->dims > 0 ? view->strides[view->dims - 1] : 0; }

// Whether a run along the last dimension is contiguous, aligned and of the computing dtype.
static bool has_unit_stride(const fastnn_view *view) {
    const fastnn_operand *o = &view->operand;
    const ptrdiff_t size = (ptrdiff_t)item_size(view);
    return o->data != NULL && !is_half(o->dtype) && (size == 8) == view->float64 &&
           (view->dims == 0 || last_stride(view) == size) && (uintptr_t)o->data % (size_t)size == 0;
}
bool fastnn_is_contiguous(const fastnn_view *view) { return view->dims <= 1 && has_unit_stride(view); }

size_t fastnn_row(const fastnn_view *view, size_t first, void **address) {
    if (!has_unit_stride(view)) return 0;
    size_t run;
    *address = locate(view, first, &run);
    return (uintptr_t)*address % item_size(view) == 0 ? run : 0;
}

// The address of a tile that a kernel can use in place, else NULL.
static void *in_place(const fastnn_view *view, size_t first, size_t count) {
    void *address;
    return fastnn_row(view, first, &address) >= count ? address : NULL;
}

#define COPY_ELEMENTS(T) \
    for (size_t i = 0; i < count; i++, to += to_stride, from += from_stride) memcpy(to, from, sizeof(T));
#define FILL_ELEMENTS(T)                                         \
    {                                                            \
        T value;                                                 \
        memcpy(&value, from, sizeof value);                      \
        for (size_t i = 0; i < count; i++) ((T *)to)[i] = value; \
    }
#define COPY_OR_FILL(T)                               \
    if (from_stride == 0 && to_stride == sizeof(T)) { \
        FILL_ELEMENTS(T)                              \
    } else {                                          \
        COPY_ELEMENTS(T)                              \
    }
static void copy_strided(size_t count, ptrdiff_t size, char *to, ptrdiff_t to_stride, const char *from,
                         ptrdiff_t from_stride) {
    if (to_stride == size && from_stride == size)
        memcpy(to, from, count * (size_t)size);
    else if (size == 2)
        COPY_OR_FILL(uint16_t)
    else if (size == 4)
        COPY_OR_FILL(uint32_t)
    else
        COPY_OR_FILL(uint64_t)
}

// Copies a tile run by run, into the array or out of it.
static void copy_runs(const fastnn_view *view, size_t first, size_t count, char *tile, bool into_array) {
    const ptrdiff_t size = (ptrdiff_t)item_size(view), stride = last_stride(view);
    while (count > 0) {
        size_t run;
        char *address = locate(view, first, &run);
        if (run > count) run = count;
        if (into_array)
            copy_strided(run, size, address, stride, tile, size);
        else
            copy_strided(run, size, tile, size, address, stride);
        tile += (ptrdiff_t)run * size;
        first += run;
        count -= run;
    }
}

void *fastnn_gather(const fastnn_table *table, const fastnn_view *view, size_t first, size_t count, void *scratch) {
    const fastnn_operand *o = &view->operand;
    if (o->data == NULL) {
        o->generate(o, first, count, scratch);
        return scratch;
    }
    void *there = in_place(view, first, count);
    if (there != NULL) return there;
    if (is_half(o->dtype)) {
        uint16_t half[TILE_ELEMENTS];
        copy_runs(view, first, count, (char *)half, false);
        table->from_half[o->dtype - FASTNN_FLOAT16](count, scratch, half);
    } else {
        copy_runs(view, first, count, scratch, false);
    }
    return scratch;
}

void *fastnn_target(const fastnn_view *view, size_t first, size_t count, void *scratch) {
    void *there = in_place(view, first, count);
    return there != NULL ? there : scratch;
}

void fastnn_scatter(const fastnn_table *table, const fastnn_view *view, size_t first, size_t count, const void *tile) {
    const fastnn_operand *o = &view->operand;
    if (in_place(view, first, count) == tile) return;
    if (is_half(o->dtype)) {
        uint16_t half[TILE_ELEMENTS];
        table->to_half[o->dtype - FASTNN_FLOAT16](count, half, tile);
        copy_runs(view, first, count, (char *)half, true);
    } else {
        copy_runs(view, first, count, (char *)tile, true);
    }
}

size_t fastnn_piece_elements(size_t count) {
    enum { PIECES = 16, LEAST = 4 * TILE_ELEMENTS, LARGEST = 64 * TILE_ELEMENTS };
    const size_t even = rounded_up(count / PIECES, TILE_ELEMENTS);
    return even < LEAST ? LEAST : even > LARGEST ? LARGEST : even;
}
