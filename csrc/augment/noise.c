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
    uint64_t seed, offset;
    double mean, sigma, largest;  // results are in [0, largest]
    bool clip;
} noise_job;

// The numbers first ... first + TOGETHER - 1; first is a multiple of WORDS.
static void draw_normal(const noise_job *job, size_t first, float *normal) {
    uint32_t words[TOGETHER];
    fastnn_draw_blocks(job->seed, job->offset, first / WORDS, TOGETHER / WORDS, (uint16_t *)words);
    for (size_t i = 0; i < TOGETHER; i += 2) {
        const float u = ((float)words[i] + 0.5f) * 0x1p-32f, v = (float)words[i + 1] * 0x1p-32f;
        const float radius = sqrtf(-2 * logf(u)), angle = 6.28318530717958647692f * v;
        normal[i] = radius * cosf(angle);
        normal[i + 1] = radius * sinf(angle);
    }
}

#define ADD_NOISE(name, type, real, half)                                                                       \
    static void name(const noise_job *job, size_t first, size_t count, const float *normal) {                   \
        const real mean = (real)job->mean + (real)half, sigma = (real)job->sigma, largest = (real)job->largest; \
        const type *x = (const type *)job->x + first;                                                           \
        type *y = (type *)job->y + first;                                                                       \
        const bool clip = job->clip;                                                                            \
        for (size_t i = 0; i < count; i++) {                                                                    \
            const real v = (real)x[i] + mean + sigma * (real)normal[i];                                         \
            y[i] = (type)(!clip ? v : v < 0 ? 0 : v > largest ? largest : v);                                   \
        }                                                                                                       \
    }
ADD_NOISE(noise_bytes, uint8_t, float, 0.5)  // rounded: a half is added, and the fraction dropped
ADD_NOISE(noise_floats, float, float, 0)
ADD_NOISE(noise_doubles, double, double, 0)

static void noise_piece(const void *context, size_t index) {
    static void (*const add_noise[])(const noise_job *, size_t, size_t, const float *) = {
        [FASTNN_BYTES] = noise_bytes, [FASTNN_FLOATS] = noise_floats, [FASTNN_DOUBLES] = noise_doubles};
    const noise_job *job = context;
    const size_t end = smaller((index + 1) * PIECE_ELEMENTS, job->count);
    for (size_t i = index * PIECE_ELEMENTS; i < end; i += TOGETHER) {
        float normal[TOGETHER];
        draw_normal(job, i, normal);
        add_noise[job->pixels](job, i, smaller(TOGETHER, end - i), normal);
    }
}

fastnn_outcome fastnn_add_noise(const fastnn_images *images, uint64_t seed, uint64_t offset, double mean, double sigma,
                                bool clip) {
    if (is_empty(images)) return FASTNN_DONE;
    const bool bytes = images->pixels == FASTNN_BYTES;
    const double largest = bytes ? 255 : 1;
    const noise_job job = {images->pixels, planes_of(images) * plane_pixels(images),
                           images->x,      images->y,
                           seed,           offset,
                           mean * largest, sigma * largest,
                           largest,        clip || bytes};
    return fastnn_parallel(divided_up(job.count, PIECE_ELEMENTS), noise_piece, &job);
}
