// What all of this folder shares: sizes and places in a batch of images. No instruction set matters here: pixels are
// moved, and what is computed is bound by memory or by the places that it is read from.
#ifndef FASTNN_AUGMENT_IMAGES_H
#define FASTNN_AUGMENT_IMAGES_H

#include "fastnn.h"
#include "runtime/sizes.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { PIECE_BYTES = 1 << 15 };  // so much of y, or more, is a piece

static inline size_t pixel_bytes(fastnn_pixels pixels) {
    static const size_t bytes[] = {[FASTNN_BYTES] = 1, [FASTNN_FLOATS] = 4, [FASTNN_DOUBLES] = 8};
    return bytes[pixels];
}

// Planes are counted over samples and channels.
static inline size_t planes_of(const fastnn_images *m) { return m->samples * m->channels; }
static inline size_t plane_pixels(const fastnn_images *m) { return m->height * m->width; }
static inline size_t out_plane_pixels(const fastnn_images *m) { return m->out_height * m->out_width; }
static inline size_t planes_in_piece(const fastnn_images *m) {
    return larger(1, PIECE_BYTES / larger(1, out_plane_pixels(m) * pixel_bytes(m->pixels)));
}
static inline bool is_empty(const fastnn_images *m) { return planes_of(m) * out_plane_pixels(m) == 0; }

// The nearest whole number, of two the even one, without a call: up to 2^51 the sum has no fraction.
ALWAYS_INLINE double nearest(double value) { return value + 0x1.8p52 - 0x1.8p52; }

// y[i] = value, rounded for bytes, into which it fits.
ALWAYS_INLINE void store(fastnn_pixels pixels, void *y, size_t i, double value) {
    if (pixels == FASTNN_BYTES)
        ((uint8_t *)y)[i] = (uint8_t)nearest(value);
    else if (pixels == FASTNN_FLOATS)
        ((float *)y)[i] = (float)value;
    else
        ((double *)y)[i] = value;
}

#endif
