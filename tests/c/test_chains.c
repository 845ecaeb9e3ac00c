// Chains of all stages over many shapes, channels first and channels last: the result of a chain must be that of its
// stages one after the other, bit by bit, for any number of threads, and nothing but its outputs may be written.
#include <math.h>
#include <string.h>

#include "check.h"
#include "runtime/system.h"
#include "runtime/tables.h"

enum { GUARD = 64, GUARD_BYTE = 0xa5 };

// ---- arrays --------------------------------------------------------------------------------------------------------

// `bytes` bytes between guards; the end is not rounded up, so that a single byte too many is seen.
static void *guarded(size_t bytes) {
    char *memory = fastnn_allocate_lines(bytes + 2 * GUARD);
    memset(memory, GUARD_BYTE, bytes + 2 * GUARD);
    return memory + GUARD;
}
static void release(void *array, size_t bytes, const char *name) {
    const unsigned char *memory = (const unsigned char *)array - GUARD;
    for (size_t i = 0; i < GUARD; i++)
        CHECK(memory[i] == GUARD_BYTE && memory[GUARD + bytes + i] == GUARD_BYTE, "written beside %s", name);
    fastnn_free_lines((void *)memory);
}

static void set(void *array, bool float64, size_t i, double value) {
    if (float64)
        ((double *)array)[i] = value;
    else
        ((float *)array)[i] = (float)value;
}
// Numbers around 0 that do not repeat soon.
static void *numbers(bool float64, size_t count, unsigned seed) {
    void *array = guarded(count * (float64 ? 8 : 4));
    uint32_t state = seed * 2654435761u + 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        set(array, float64, i, (double)(state >> 8) / (1 << 22) - 2);
    }
    return array;
}

// ---- a call --------------------------------------------------------------------------------------------------------

typedef struct {
    void *y, *dx, *daddend;
    double *sums[2], *mean, *mean_low, *rstd, *variance;
} results;

static size_t bytes_of(const fastnn_chain *chain) {
    return chain->outer * chain->channels * chain->inner * (chain->float64 ? 8 : 4);
}
static double *channel_numbers(const fastnn_chain *chain) { return guarded(chain->channels * sizeof(double)); }

static results make_results(const fastnn_chain *chain) {
    const size_t bytes = bytes_of(chain);
    return (results){guarded(bytes),         guarded(bytes),
                     guarded(bytes),         {channel_numbers(chain), channel_numbers(chain)},
                     channel_numbers(chain), channel_numbers(chain),
                     channel_numbers(chain), channel_numbers(chain)};
}
static void free_results(const fastnn_chain *chain, results *r) {
    const size_t bytes = bytes_of(chain), each = chain->channels * sizeof(double);
    release(r->y, bytes, "y"), release(r->dx, bytes, "dx"), release(r->daddend, bytes, "daddend");
    release(r->sums[0], each, "dbias"), release(r->sums[1], each, "dweight");
    release(r->mean, each, "mean"), release(r->mean_low, each, "mean_low");
    release(r->rstd, each, "rstd"), release(r->variance, each, "variance");
}

static void forward(const fastnn_chain *chain, const void *x, void *y) {
    CHECK(fastnn_chain_forward(chain, x, y) == FASTNN_DONE, "interrupted, or no memory");
}
static void backward(const fastnn_chain *chain, const void *dy, const void *x, void *dx, double *const *sums) {
    CHECK(fastnn_chain_backward(chain, dy, x, dx, sums) == FASTNN_DONE, "interrupted, or no memory");
}

// Points the chain to the results. Outside training it is given statistics, which forward finds in training.
static void point(fastnn_chain *chain, const results *r) {
    if (chain->rstd != NULL) {
        for (size_t c = 0; c < chain->channels && !chain->training; c++)
            r->mean[c] = 0.1 * (double)(c % 7), r->mean_low[c] = 0, r->rstd[c] = 1 / (1 + 0.1 * (double)(c % 5));
        chain->mean = r->mean, chain->mean_low = r->mean_low, chain->rstd = r->rstd, chain->variance = r->variance;
    }
    for (int k = 0; k < chain->stages; k++)
        if (chain->stage[k].action == FASTNN_ADD) chain->stage[k].daddend = r->daddend;
}

static void run_whole(fastnn_chain chain, const void *x, const void *dy, const results *r, bool in_place) {
    const size_t bytes = bytes_of(&chain);
    point(&chain, r);
    if (in_place) memcpy(r->y, x, bytes);
    forward(&chain, in_place ? r->y : x, r->y);
    if (in_place) memcpy(r->dx, dy, bytes);
    backward(&chain, in_place ? r->dx : dy, x, r->dx, chain.scaled ? r->sums : NULL);
}

// Batch norm in training by the calls for several processes, of which this is the only one: the passes are the same, so
// all bits are.
static void run_passes(fastnn_chain chain, const void *x, const void *dy, const results *r, bool in_place) {
    const size_t bytes = bytes_of(&chain);
    point(&chain, r);
    forward(&chain, x, r->y);  // for the statistics
    fastnn_chain given = chain;
    given.training = false;
    if (in_place) memcpy(r->y, x, bytes), memcpy(r->dx, dy, bytes);
    forward(&given, in_place ? r->y : x, r->y);
    if (in_place) dy = r->dx;
    CHECK(fastnn_chain_sums(&chain, dy, x, r->dx, r->sums) == FASTNN_DONE, "interrupted, or no memory");
    CHECK(fastnn_chain_gradient(&chain, dy, x, r->dx, r->sums) == FASTNN_DONE, "interrupted, or no memory");
}

// The scaling and each stage as a chain of its own.
static void run_parts(fastnn_chain chain, const void *x, const void *dy, const results *r) {
    const size_t bytes = bytes_of(&chain);
    fastnn_chain head = chain, one = chain;
    void *after[FASTNN_MAX_STAGES + 1] = {NULL};
    point(&head, r);
    head.stages = 0;
    one.scaled = one.training = false;
    one.stages = 1;
    for (int k = 0; k <= chain.stages; k++) after[k] = guarded(bytes);
    if (chain.scaled)
        forward(&head, x, after[0]);
    else
        memcpy(after[0], x, bytes);
    for (int k = 0; k < chain.stages; k++) {
        one.stage[0] = chain.stage[k];
        forward(&one, after[k], after[k + 1]);
    }
    memcpy(r->y, after[chain.stages], bytes);
    memcpy(r->dx, dy, bytes);
    for (int k = chain.stages - 1; k >= 0; k--) {
        one.stage[0] = chain.stage[k];
        if (chain.stage[k].action == FASTNN_ADD) one.stage[0].daddend = r->daddend;
        backward(&one, r->dx, after[k], r->dx, NULL);
    }
    if (chain.scaled) backward(&head, r->dx, x, r->dx, r->sums);
    for (int k = 0; k <= chain.stages; k++) release(after[k], bytes, "a stage's output");
}

// ---- what is checked -----------------------------------------------------------------------------------------------

static void check_same(const fastnn_chain *chain, const results *a, const results *b, const char *what) {
    const size_t bytes = bytes_of(chain), each = chain->channels * sizeof(double);
    const char *form = chain->channels_last ? "channels last" : "channels first";
#define SAME(name, n)                                                                                             \
    CHECK(memcmp(a->name, b->name, n) == 0, "%s: %s, %zu x %zu x %zu %s, float%d, %d stages", fastnn_isa(), what, \
          chain->outer, chain->channels, chain->inner, form, chain->float64 ? 64 : 32, chain->stages)
    SAME(y, bytes);
    SAME(dx, bytes);
    SAME(daddend, bytes);
    SAME(sums[0], each);
    SAME(sums[1], each);
    SAME(mean, each);
    SAME(rstd, each);
#undef SAME
}

static void check_chain(const fastnn_chain *chain) {
    const size_t count = chain->outer * chain->channels * chain->inner, bytes = bytes_of(chain);
    void *x = numbers(chain->float64, count, 1), *dy = numbers(chain->float64, count, 2);
    results parts = make_results(chain);
    fastnn_set_num_threads(1);
    run_parts(*chain, x, dy, &parts);
    for (int in_place = 0; in_place < 2; in_place++) {
        fastnn_set_num_threads(in_place ? 1 : 3);
        results whole = make_results(chain);
        run_whole(*chain, x, dy, &whole, in_place);
        check_same(chain, &whole, &parts, in_place ? "in place" : "three threads");
        if (chain->training) {
            run_passes(*chain, x, dy, &whole, in_place);
            check_same(chain, &whole, &parts, in_place ? "in place, pass by pass" : "three threads, pass by pass");
        }
        free_results(chain, &whole);
    }
    free_results(chain, &parts);
    release(x, bytes, "x"), release(dy, bytes, "dy");
}

typedef enum { NOTHING, SCALE, EVALUATE, TRAIN, HEADS } head_stage;

// Each letter is a stage: r relu, l leaky_relu and i hardswish (cheap), s sigmoid (medium), g gelu (costly), d dropout,
// + addition.
static const char *const CHAINS[] = {"",   "r",  "l",  "g",   "d",   "+",   "rg",  "ll",      "ri",
                                     "sl", "gr", "rd", "+rd", "r+d", "drg", "d+g", "rs+dgrli"};

static void add_stages(fastnn_chain *chain, const char *letters, const void *addend) {
    for (; *letters != '\0'; letters++) {
        fastnn_stage stage = {.action = FASTNN_ACTIVATE, .parameters = {0.25}};
        switch (*letters) {
        case 'r': stage.activation = ACTIVATION_relu; break;
        case 'l': stage.activation = ACTIVATION_leaky_relu; break;
        case 'i': stage.activation = ACTIVATION_hardswish; break;
        case 's': stage.activation = ACTIVATION_sigmoid; break;
        case 'g': stage.activation = ACTIVATION_gelu; break;
        case 'd':
            stage.action = FASTNN_DROP;
            stage.dropout = (fastnn_dropout){.seed = 1, .offset = 2, .threshold = 40000, .scale = 65536.0 / 40000};
            break;
        default: stage.action = FASTNN_ADD, stage.addend = addend;
        }
        chain->stage[chain->stages++] = stage;
    }
}

static void check_shape(size_t outer, size_t channels, size_t inner, bool every) {
    for (int form = 0; form < 8; form++) {
        const bool float64 = form & 1, channels_last = form & 2, second = form & 4;
        const size_t count = outer * channels * inner;
        void *weight = numbers(float64, channels, 3), *bias = numbers(float64, channels, 4);
        void *addend = numbers(float64, count, 5);
        for (size_t i = 0; i < sizeof CHAINS / sizeof *CHAINS; i++) {
            if (!every && (i + inner) % 8 != (size_t)form) continue;
            for (head_stage head = second ? EVALUATE : NOTHING; head < (second ? HEADS : EVALUATE); head++) {
                double has_statistics;
                fastnn_chain chain = {.float64 = float64,
                                      .channels_last = channels_last,
                                      .outer = outer,
                                      .channels = channels,
                                      .inner = inner,
                                      .scaled = head != NOTHING,
                                      .training = head == TRAIN,
                                      .eps = 1e-5,
                                      .rstd = head >= EVALUATE ? &has_statistics : NULL};
                if (head != NOTHING) chain.weight = weight, chain.bias = bias;
                add_stages(&chain, CHAINS[i], addend);
                check_chain(&chain);
            }
        }
        release(weight, channels * (float64 ? 8 : 4), "weight"), release(bias, channels * (float64 ? 8 : 4), "bias");
        release(addend, count * (float64 ? 8 : 4), "addend");
    }
}

// Arrays so large that results are stored past the caches, but for those that are computed in place.
static void check_streamed(bool channels_last) {
    enum { OUTER = 7, CHANNELS = 3, INNER = 300007 };
    const size_t size = sizeof(double), count = (size_t)OUTER * CHANNELS * INNER;
    void *weight = numbers(true, CHANNELS, 3), *addend = numbers(true, count, 5);
    double has_statistics;
    fastnn_chain chain = {.float64 = true,
                          .channels_last = channels_last,
                          .outer = OUTER,
                          .channels = CHANNELS,
                          .inner = INNER,
                          .scaled = true,
                          .training = true,
                          .eps = 1e-5,
                          .rstd = &has_statistics,
                          .weight = weight};
    add_stages(&chain, "r+d", addend);
    check_chain(&chain);
    release(weight, CHANNELS * size, "weight"), release(addend, count * size, "addend");
}

static void check_running(bool float64) {
    enum { CHANNELS = 5 };
    void *mean = numbers(float64, CHANNELS, 1), *var = numbers(float64, CHANNELS, 2);
    for (size_t c = 0; c < CHANNELS; c++) set(mean, float64, c, 1), set(var, float64, c, 2);
    const double new_mean[CHANNELS] = {3, (double)NAN, 3, 1e300 * 1e300, 3};
    const double new_var[CHANNELS] = {4, 4, (double)INFINITY, 4, 4};
    fastnn_update_running(float64, CHANNELS, mean, var, new_mean, new_var, 2, 0.5, true);
    for (size_t c = 0; c < CHANNELS; c++) {
        const double m = float64 ? ((double *)mean)[c] : (double)((float *)mean)[c];
        const double v = float64 ? ((double *)var)[c] : (double)((float *)var)[c];
        const bool taken = c == 0 || c == 4;
        CHECK(m == (taken ? 2 : 1) && v == (taken ? 5 : 2), "channel %zu: %g, %g", c, m, v);
    }
    release(mean, CHANNELS * (float64 ? 8 : 4), "mean"), release(var, CHANNELS * (float64 ? 8 : 4), "var");
}

// With an argument, the small shapes alone: for an emulator.
int main(int count, char **arguments) {
    (void)arguments;
    limit_seconds(1800);
    // outer, channels, inner: nothing, one of everything, around a vector and a tile, rows that are taken
    // together, of even and odd number, and channels that are cut.
    static const size_t small[][3] = {{0, 3, 2},  {3, 0, 2},  {1, 1, 1},  {2, 1, 1},  {1, 1, 2},
                                      {1, 3, 1},  {7, 1, 3},  {3, 5, 1},  {5, 17, 3}, {2, 9, 40},
                                      {3, 33, 2}, {4, 64, 2}, {3, 65, 1}, {6, 16, 4}, {1, 100, 33}};
    static const size_t large[][3] = {{1, 2, 1025},  {2, 3, 2049},  {9, 7, 1023},  {2, 1500, 3},
                                      {3, 4099, 1},  {1, 2049, 5},  {70, 2048, 1}, {130, 64, 9},
                                      {3, 2, 20011}, {40011, 2, 1}, {5, 3, 4097}};
    const char *isa;
    for (int i = 0; (isa = fastnn_available_isa(i)) != NULL; i++) {
        CHECK(fastnn_select_isa(isa), "%s", isa);
        for (size_t k = 0; k < sizeof small / sizeof *small; k++)
            check_shape(small[k][0], small[k][1], small[k][2], true);
    }
    for (int float64 = 0; float64 < 2; float64++) check_running(float64);
    if (count > 1) return 0;
    fastnn_select_isa(NULL);
    for (size_t k = 0; k < sizeof large / sizeof *large; k++) check_shape(large[k][0], large[k][1], large[k][2], false);
    for (int channels_last = 0; channels_last < 2; channels_last++) check_streamed(channels_last);
}
