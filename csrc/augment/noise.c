// Normal noise. Numbers 2 i and 2 i + 1 of a key come from words 2 i and 2 i + 1 of its Philox stream, four words to a
// block, by the transform of Box and Muller, 1958: with u and v uniform, sqrt(-2 ln u) times cos(2 pi v) and
// sin(2 pi v). u = (word + 1/2) / 2^32, so that ln u is finite.
#include <math.h>
#include <string.h>

#include "augment/images.h"
#include "random/random_kernels.h"

enum { WORDS = 4, TOGETHER = 512, PIECE_ELEMENTS = 8 * TOGETHER };  // of a block; numbers made at a time; of a piece

typedef struct {
    fastnn_pixels pixels;
    size_t count;
    const void *x;
    void *y;
    fastnn_noise noise;  // mean and sigma in units of x
    double largest;      // results are in [0, largest]
} noise_job;

// TOGETHER numbers from number `first` on, a multiple of WORDS.
static void draw_normal(const fastnn_noise *noise, uint64_t first, float *normal) {
    uint32_t words[TOGETHER];
    fastnn_draw_blocks(noise->seed, noise->offset, first / WORDS, TOGETHER / WORDS, (uint16_t *)words);
    for (size_t i = 0; i < TOGETHER; i += 2) {
        const float u = ((float)words[i] + 0.5f) * 0x1p-32f, v = (float)words[i + 1] * 0x1p-32f;
        const float radius = sqrtf(-2 * logf(u)), angle = 6.28318530717958647692f * v;
        normal[i] = radius * cosf(angle);
        normal[i + 1] = radius * sinf(angle);
    }
}

#define ADD_NOISE(name, type, real, half)                                                     \
    static void name(const noise_job *job, size_t first, size_t count, const float *normal) { \
        const fastnn_noise *noise = &job->noise;                                              \
        const real mean = (real)noise->mean + (real)half, sigma = (real)noise->sigma;         \
        const real largest = (real)job->largest;                                              \
        const type *x = (const type *)job->x + first;                                         \
        type *y = (type *)job->y + first;                                                     \
        const bool clip = noise->clip;                                                        \
        for (size_t i = 0; i < count; i++) {                                                  \
            const real v = (real)x[i] + mean + sigma * (real)normal[i];                       \
            y[i] = (type)(!clip ? v : v < 0 ? 0 : v > largest ? largest : v);                 \
        }                                                                                     \
    }
ADD_NOISE(noise_bytes, uint8_t, float, 0.5)  // rounded: a half is added, and the fraction dropped
ADD_NOISE(noise_floats, float, float, 0)
ADD_NOISE(noise_doubles, double, double, 0)

static void noise_piece(const void *context, size_t index) {
    static void (*const add_noise[])(const noise_job *, size_t, size_t, const float *) = {
        [FASTNN_BYTES] = noise_bytes, [FASTNN_FLOATS] = noise_floats, [FASTNN_DOUBLES] = noise_doubles};
    const noise_job *job = context;
    const size_t end = smaller((index + 1) * PIECE_ELEMENTS, job->count);
    for (size_t i = index * PIECE_ELEMENTS, count; i < end; i += count) {
        const uint64_t number = job->noise.first + i;
        const size_t skip = number % WORDS;
        float normal[TOGETHER];
        count = smaller(TOGETHER - skip, end - i);
        draw_normal(&job->noise, number - skip, normal);
        add_noise[job->pixels](job, i, count, normal + skip);
    }
}

fastnn_outcome fastnn_add_noise(const fastnn_images *images, const fastnn_noise *noise) {
    if (is_empty(images)) return FASTNN_DONE;
    const bool bytes = images->pixels == FASTNN_BYTES;
    const size_t count = planes_of(images) * plane_pixels(images);
    noise_job job = {images->pixels, count, images->x, images->y, *noise, bytes ? 255 : 1};
    job.noise.mean *= job.largest;
    job.noise.sigma *= job.largest;
    job.noise.clip |= bytes;
    return fastnn_parallel(divided_up(job.count, PIECE_ELEMENTS), noise_piece, &job);
}
