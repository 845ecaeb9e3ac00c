// The formula of centring and scaling, for a run of elements of a channel, and the loop that takes a channel out of
// pixels of many channels.
#include "preprocessing/standardize_kernels.h"

#include "simd/simd.h"

// The mean is in two parts: rounded to one float32, a mean that is large beside the deviation would be off by much of
// it. The difference from the first part is exact where x is near.
FORCE_INLINE V standardized(V x, V mean, V mean_low, V factor) { return ((x - mean) - mean_low) * factor; }

// LANES elements from number i on.
FORCE_INLINE V load_x(const char *x, size_t i, fastnn_form form, size_t channels, PixelOrder order) {
    if (form == REALS) return vload((const real *)x + i);
    if (form == BYTES) return vload_bytes((const uint8_t *)x + i);
    return vload_pixels((const uint8_t *)x + i * channels, channels, order);
}

// The n <= LANES elements from number i on, and nothing beyond them.
FORCE_INLINE V load_rest(const char *x, size_t i, size_t n, fastnn_form form, size_t channels) {
    if (form == REALS) return vload_part((const real *)x + i, n);
    uint8_t lanes[LANES] = {0};
    for (size_t k = 0; k < n; k++) lanes[k] = ((const uint8_t *)x)[(i + k) * (form == PIXELS ? channels : 1)];
    return vload_bytes(lanes);
}

// How many of n pixels can be loaded as whole vectors.
FORCE_INLINE size_t readable_pixels(size_t n, size_t channels, size_t readable) {
    if (readable < PIXEL_BYTES(channels)) return 0;
    return n < (readable - PIXEL_BYTES(channels)) / channels + LANES
               ? n
               : (readable - PIXEL_BYTES(channels)) / channels + LANES;
}

FORCE_INLINE void standardize(size_t n, real *y, const char *x, size_t channels, size_t readable,
                              const void *const statistics[STATISTICS], fastnn_form form, bool each) {
    const real *mean = statistics[MEAN], *low = statistics[MEAN_LOW], *factor = statistics[FACTOR];
    const V m = vset(*mean), l = vset(*low), f = vset(*factor);
    const PixelOrder order = pixel_order(form == PIXELS ? channels : 1);
    const size_t loadable = form == PIXELS ? readable_pixels(n, channels, readable) : n;
    size_t i = 0;
    for (; i + LANES <= loadable; i += LANES) {
        const V from = load_x(x, i, form, channels, order);
        vstore(y + i, each ? standardized(from, vload(mean + i), vload(low + i), vload(factor + i))
                           : standardized(from, m, l, f));
    }
    for (size_t some; i < n; i += some) {
        some = n - i < LANES ? n - i : LANES;
        const V from = load_rest(x, i, some, form, channels);
        vstore_part(y + i, some,
                    each ? standardized(from, vload_part(mean + i, some), vload_part(low + i, some),
                                        vload_part(factor + i, some))
                         : standardized(from, m, l, f));
    }
}

#define STANDARDIZE(name, form, each)                                                    \
    static void name(size_t n, void *y, const void *x, size_t channels, size_t readable, \
                     const void *const statistics[STATISTICS]) {                         \
        standardize(n, y, x, channels, readable, statistics, form, each);                \
    }
STANDARDIZE(reals, REALS, false)
STANDARDIZE(reals_each, REALS, true)
STANDARDIZE(bytes, BYTES, false)
STANDARDIZE(bytes_each, BYTES, true)
STANDARDIZE(pixels, PIXELS, false)
STANDARDIZE(pixels_each, PIXELS, true)

static void take_bytes(size_t n, size_t channels, void *to, const void *from) {
    for (size_t i = 0; i < n; i++) ((uint8_t *)to)[i] = ((const uint8_t *)from)[i * channels];
}

// With the usual number of channels as a constant the compiler makes shuffles of the loop.
FORCE_INLINE void take_each(size_t n, size_t channels, real *restrict to, const real *restrict from) {
    for (size_t i = 0; i < n; i++) to[i] = from[i * channels];
}
static void take_reals(size_t n, size_t channels, void *to, const void *from) {
    if (channels == 3)
        take_each(n, 3, to, from);
    else
        take_each(n, channels, to, from);
}

const fastnn_standardize_table FASTNN_TABLE(standardize) = {
    .standardize = {{reals, reals_each}, {bytes, bytes_each}, {pixels, pixels_each}},
    .take_channel = {take_reals, take_bytes},
};
