// The stack that a call needs: less than LIMIT bytes, so that a thread of 64 KB has room for the program around it.
// Each call runs in a thread whose stack was filled with a pattern, and what is left of the pattern is counted.
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "fastnn.h"

enum { STACK = 1 << 20, LIMIT = 32 << 10, PATTERN = 0xa5, SIDE = 96, COUNT = SIDE * SIDE * 8 };

static char x[COUNT * 8], dy[COUNT * 8], y[COUNT * 8], more[COUNT * 8];
static double numbers[4][SIDE * 8];
static int64_t labels[COUNT];

static size_t stack_of(void *(*call)(void *), void *argument) {
    char *stack;
    CHECK(posix_memalign((void **)&stack, 4096, STACK) == 0, "no memory");
    memset(stack, PATTERN, STACK);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstack(&attributes, stack, STACK) == 0, "no stack");
    pthread_t thread;
    CHECK(pthread_create(&thread, &attributes, call, argument) == 0, "no thread");
    pthread_join(thread, NULL);
    size_t unused = 0;
    while (unused < STACK && stack[unused] == (char)PATTERN) unused++;
    free(stack);
    return STACK - unused;
}

// ---- calls ---------------------------------------------------------------------------------------------------------

static void *do_nothing(void *argument) { return argument; }

static void *run_chain(void *argument) {
    fastnn_chain *chain = argument;
    CHECK(fastnn_chain_forward(chain, x, y) == FASTNN_DONE, "forward");
    CHECK(fastnn_chain_backward(chain, dy, x, y, (double *[]){numbers[0], numbers[1]}) == FASTNN_DONE, "backward");
    return NULL;
}

static void *run_norm(void *argument) {
    fastnn_norm *norm = argument;
    CHECK(fastnn_run_norm(norm) == FASTNN_DONE, "forward");
    CHECK(fastnn_run_norm_backward(norm) == FASTNN_DONE, "backward");
    return NULL;
}

typedef struct {
    fastnn_samples_operation operation;
    bool float64;
    fastnn_samples call;
} samples;
static void *run_samples(void *argument) {
    const samples *s = argument;
    double loss;
    CHECK(fastnn_run_samples(s->operation, s->float64, &s->call, &loss) == FASTNN_DONE, "samples");
    return NULL;
}

static void *run_map(void *argument) {
    CHECK(fastnn_run_map(argument) == FASTNN_DONE, "map");
    return NULL;
}

static void *run_maxout(void *argument) {
    const bool float64 = *(const bool *)argument;
    CHECK(fastnn_maxout(float64, 2, SIDE, 4, SIDE, x, y, 2, (uint8_t *)more) == FASTNN_DONE, "forward");
    CHECK(fastnn_maxout_backward(float64, 2, SIDE, 4, SIDE, y, 2, (uint8_t *)more, x) == FASTNN_DONE, "backward");
    return NULL;
}

static void *run_product(void *argument) {
    CHECK(fastnn_run_product(argument) == FASTNN_DONE, "product");
    return NULL;
}

static void *run_convolution(void *argument) {
    const fastnn_convolution *call = argument;
    CHECK(fastnn_convolve(call) == FASTNN_DONE, "forward");
    CHECK(fastnn_convolve_backward_input(call) == FASTNN_DONE, "the input's gradient");
    CHECK(fastnn_convolve_backward_weight(call) == FASTNN_DONE, "the weight's gradient");
    return NULL;
}

// ---- checks --------------------------------------------------------------------------------------------------------

static size_t thread_alone;

static void check(const char *name, bool float64, void *(*call)(void *), void *argument) {
    const size_t bytes = stack_of(call, argument) - thread_alone;
    printf("%s %s, float%d: %zu bytes of stack\n", fastnn_isa(), name, float64 ? 64 : 32, bytes);
    CHECK(bytes < LIMIT, "%s of float%d takes %zu bytes of stack", name, float64 ? 64 : 32, bytes);
}

static void check_chains(bool float64) {
    for (int channels_last = 0; channels_last < 2; channels_last++) {
        fastnn_chain chain = {.float64 = float64,
                              .channels_last = channels_last,
                              .outer = 8,
                              .channels = SIDE,
                              .inner = SIDE,
                              .scaled = true,
                              .training = true,
                              .eps = 1e-5,
                              .mean = numbers[0],
                              .mean_low = numbers[1],
                              .rstd = numbers[2],
                              .variance = numbers[3],
                              .stages = FASTNN_MAX_STAGES};
        for (int k = 0; k < FASTNN_MAX_STAGES; k++)
            chain.stage[k] = (fastnn_stage){.action = k % 2 ? FASTNN_DROP : FASTNN_ACTIVATE,
                                            .activation = fastnn_find_kernel("gelu") / 2,
                                            .dropout = {.threshold = 32768, .scale = 2}};
        check(channels_last ? "chain, channels last" : "chain", float64, run_chain, &chain);
    }
}

static void check_samples(bool float64) {
    for (int operation = 0; operation < FASTNN_SAMPLES_OPERATIONS; operation++) {
        samples s = {(fastnn_samples_operation)operation,
                     float64,
                     {.outer = 8, .classes = SIDE, .inner = SIDE, .x = x, .out = y, .keep = 1}};
        const bool has_labels =
            operation == FASTNN_CROSS_ENTROPY || operation == FASTNN_HINGE || operation == FASTNN_NLL;
        if (has_labels)
            s.call.labels = labels;
        else
            s.call.other = dy;
        check("samples", float64, run_samples, &s);
    }
}

static void check_maps(bool float64) {
    const size_t shape[] = {SIDE, SIDE};
    const ptrdiff_t size = float64 ? 8 : 4, strides[] = {size, SIDE * size}, half[] = {2, 2 * SIDE};
    fastnn_map map = {.kernel = fastnn_find_kernel("swiglu_backward"),
                      .float64 = float64,
                      .dims = 2,
                      .shape = shape,
                      .outputs = 2,
                      .inputs = 3};
    char *const data[] = {y, more, x, dy, x};
    for (int k = 0; k < 5; k++)
        map.operands[k] = (fastnn_operand){.data = data[k], .strides = strides, .dtype = float64};
    if (!float64) map.operands[0].dtype = map.operands[4].dtype = FASTNN_BFLOAT16;
    if (!float64) map.operands[0].strides = map.operands[4].strides = half;
    check("map of five operands", float64, run_map, &map);
}

static void check_all(bool float64) {
    check_chains(float64);
    check_samples(float64);
    check_maps(float64);
    check("maxout", float64, run_maxout, &float64);
    fastnn_norm norm = {.float64 = float64,
                        .rows = COUNT / SIDE,
                        .groups = 1,
                        .channels = SIDE,
                        .inner = 1,
                        .eps = 1e-5,
                        .x = x,
                        .mean = (double *)more,
                        .rstd = (double *)more + COUNT / SIDE,
                        .y = y,
                        .dy = dy,
                        .dx = y,
                        .dweight = numbers[0],
                        .dbias = numbers[1]};
    check("norm", float64, run_norm, &norm);
    fastnn_product product = {.float64 = float64,
                              .m = SIDE,
                              .n = SIDE,
                              .k = SIDE,
                              .a = {x, SIDE, 1},
                              .b = {dy, SIDE, 1},
                              .c = y,
                              .row = SIDE,
                              .column = 1};
    check("product", float64, run_product, &product);
    const fastnn_axis axis = {.size = SIDE, .places = SIDE, .taps = 3, .stride = 1, .start = -1, .step = 1};
    fastnn_convolution convolution = {.float64 = float64,
                                      .samples = 1,
                                      .groups = 1,
                                      .channels = 8,
                                      .outputs = 8,
                                      .axis = {axis, axis},
                                      .x = x,
                                      .weight = more,
                                      .y = y,
                                      .dy = dy,
                                      .dx = y,
                                      .dweight = numbers[0]};
    check("convolution", float64, run_convolution, &convolution);
}

int main(void) {
    fastnn_set_num_threads(1);  // the calling thread does all the work, on its own stack
    for (int i = 0; fastnn_available_isa(i) != NULL; i++) {
        fastnn_select_isa(fastnn_available_isa(i));
        thread_alone = stack_of(do_nothing, NULL);
        check_all(false);
        check_all(true);
    }
    return 0;
}
