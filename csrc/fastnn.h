// The C interface that the binding sees: kernels found by name, elementwise maps over strided arrays, the thread pool
// and the caching allocator. Nothing here knows about Python.
#ifndef FASTNN_H
#define FASTNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// How a call ended. Drivers that need scratch memory allocate it themselves; a call without memory has written nothing.
typedef enum { FASTNN_DONE, FASTNN_INTERRUPTED, FASTNN_NO_MEMORY } fastnn_outcome;

// ---- operations (activations.def) ----------------------------------------------------------------------------------

typedef enum { FASTNN_FLOAT32, FASTNN_FLOAT64, FASTNN_FLOAT16, FASTNN_BFLOAT16 } fastnn_dtype;

// How much work an element is; elementwise.c turns it into the size from which on threads pay.
typedef enum { FASTNN_CHEAP, FASTNN_MEDIUM, FASTNN_COSTLY } fastnn_cost;

#define FASTNN_MAX_PARAMETERS 2
#define FASTNN_MAX_INPUTS 3
#define FASTNN_MAX_OUTPUTS 2

typedef struct {
    const char *name;
    double value;  // the default; NaN: the caller must give one
} fastnn_parameter;

typedef struct {
    const char *name;
    bool saves_output;  // backward takes the output, not the input
    fastnn_cost cost;
    fastnn_parameter parameters[FASTNN_MAX_PARAMETERS];  // an unused one has no name
} fastnn_activation;

extern const fastnn_activation fastnn_activations[];
extern const int fastnn_activation_count;

// A kernel's number: activation i has kernels 2 i (forward) and 2 i + 1 (backward); the others follow.
int fastnn_find_kernel(const char *name);

// ---- instruction sets ----------------------------------------------------------------------------------------------

// Chooses the best instruction set that this machine runs, or the one named. False: unknown or not available here.
bool fastnn_select_isa(const char *name);
const char *fastnn_isa(void);
// The available ones, best first; NULL past the end.
const char *fastnn_available_isa(int index);
const char *fastnn_compiler(void);

// ---- elementwise maps ----------------------------------------------------------------------------------------------

#define FASTNN_MAX_DIMS 64

typedef struct fastnn_operand fastnn_operand;
struct fastnn_operand {
    char *data;
    const ptrdiff_t *strides;  // in bytes, one for each dimension
    fastnn_dtype dtype;
    // An input without data is generated: fills `to` with the values of elements first ... first + count - 1.
    void (*generate)(const fastnn_operand *self, size_t first, size_t count, void *to);
    const void *state;
};

typedef struct {
    int kernel;
    bool float64;  // what is computed in; operands of that dtype are used in place, the half types are converted
    int dims;
    const size_t *shape;
    int outputs, inputs;
    fastnn_operand operands[FASTNN_MAX_OUTPUTS + FASTNN_MAX_INPUTS];  // the outputs first
    double parameters[FASTNN_MAX_PARAMETERS];
} fastnn_map;

// out[i] = kernel(in[i], ...). An output may be an input too if both have the same layout. Returns false if
// interrupted.
bool fastnn_run_map(const fastnn_map *map);
// The same for contiguous arrays of the computing dtype; data has the outputs first.
bool fastnn_run_contiguous(int kernel, bool float64, size_t count, void *const *data, const double *parameters);

// PReLU on contiguous (outer, channels, inner) arrays. Backward gives dx, and dweight summed in double in an order that
// depends on the shape alone. With one channel, outer and inner may be cut in any way. `partial` has
// fastnn_prelu_pieces(...) * channels elements.
bool fastnn_prelu(bool float64, size_t outer, size_t channels, size_t inner, const void *x, const void *weight,
                  void *y);
size_t fastnn_prelu_pieces(size_t outer, size_t channels, size_t inner);
bool fastnn_prelu_backward(bool float64, size_t outer, size_t channels, size_t inner, const void *dy, const void *x,
                           const void *weight, void *dx, double *dweight, double *partial);

// Maxout on contiguous (outer, groups, k, inner) arrays; y is (outer, groups, inner). The winners of y's elements are
// numbers of `bits` bits, kept as bit planes of (count + 7) / 8 bytes each, least significant plane first.
bool fastnn_maxout(bool float64, size_t outer, size_t groups, size_t k, size_t inner, const void *x, void *y, int bits,
                   uint8_t *planes);
bool fastnn_maxout_backward(bool float64, size_t outer, size_t groups, size_t k, size_t inner, const void *dy, int bits,
                            const uint8_t *planes, void *dx);

// ---- chains --------------------------------------------------------------------------------------------------------

// y = scale x + shift where the element's 16-bit draw is below `threshold`, else `dropped`, whatever x is.
typedef struct {
    uint64_t seed, offset;
    uint32_t threshold;  // 0 to 65536
    double scale, shift, dropped;
} fastnn_dropout;

typedef enum { FASTNN_ACTIVATE, FASTNN_DROP, FASTNN_ADD } fastnn_stage_kind;
typedef struct {
    fastnn_stage_kind kind;
    int activation;
    double parameters[FASTNN_MAX_PARAMETERS];
    fastnn_dropout dropout;
    const void *addend;
    void *daddend;  // backward: where the gradient for the addend goes, or NULL
} fastnn_stage;

#define FASTNN_MAX_STAGES 8

// What a chain computes: y = (x - mean) rstd weight + bias, channel by channel, and the stages after it. Memory is
// (outer, channels, inner), or with `columns` (outer, inner, channels).
typedef struct {
    bool float64, columns;
    size_t outer, channels, inner;
    bool scaled;    // whether there is anything before the stages
    bool training;  // mean and rstd are x's own: found by forward, and backward knows that they depend on x
    double eps;
    double *mean, *rstd;  // NULL: 0, 1
    double *rest;         // what rounding the mean to one number lost; NULL: 0
    double *variance;     // of the batch; forward in training
    const void *weight, *bias;
    int stages;
    fastnn_stage stage[FASTNN_MAX_STAGES];
} fastnn_chain;

size_t fastnn_chain_workspace(const fastnn_chain *chain);  // bytes
bool fastnn_chain_forward(const fastnn_chain *chain, const void *x, void *y, void *workspace);
// dx may be dy, not x. `sums`: dbias and dweight; NULL, which training does not allow: they are not wanted.
bool fastnn_chain_backward(const fastnn_chain *chain, const void *dy, const void *x, void *dx, double *const *sums,
                           void *workspace);
// Batch norm in evaluation: the running mean as it is, and 1 / sqrt(running variance + eps).
void fastnn_evaluation(bool float64, size_t channels, double eps, const void *running_mean, const void *running_var,
                       double *mean, double *rstd);
// running = (1 - momentum) running + momentum batch for means and variances, the batch's variances times `factor`; with
// `skip` only for channels where both are finite as running values.
void fastnn_update_running(bool float64, size_t channels, void *running_mean, void *running_var, const double *mean,
                           const double *variance, double factor, double momentum, bool skip);

// ---- norms of rows -------------------------------------------------------------------------------------------------

// Layer, RMS, group and instance norm of contiguous (rows, channels, inner) elements: each row has a mean and a
// variance of its own, and each channel a weight and a bias. Row r has those of group r % groups.
typedef struct {
    bool float64;
    bool given;  // mean and rstd are not the row's own, but given
    size_t rows, groups, channels, inner;
    double eps;
    const void *x;
    const void *weight, *bias;       // groups * channels; NULL: 1 and 0
    double *mean, *rstd, *variance;  // one for each row. mean is NULL for the RMS norm; variance if it is not wanted.
    void *y;                         // forward only; may be x
    const void *dy;                  // these backward only
    void *dx, *dweight, *dbias;      // dx may be x or dy; the others are NULL where they are not wanted
} fastnn_norm;
bool fastnn_run_norm(const fastnn_norm *norm);  // false if interrupted
// `scratch` has fastnn_norm_scratch(norm) doubles.
size_t fastnn_norm_scratch(const fastnn_norm *norm);
bool fastnn_run_norm_backward(const fastnn_norm *norm, double *scratch);
// ---- softmax and losses --------------------------------------------------------------------------------------------

typedef enum {
    FASTNN_SOFTMAX,
    FASTNN_LOG_SOFTMAX,
    FASTNN_SOFTMAX_BACKWARD,
    FASTNN_LOG_SOFTMAX_BACKWARD,
    FASTNN_CROSS_ENTROPY,
    FASTNN_HINGE,
    FASTNN_BCE_WITH_LOGITS,
    FASTNN_MSE,
    FASTNN_SAMPLES_KERNELS
} fastnn_samples_kind;

// Contiguous (outer, classes, inner) arrays of one dtype: sample s = o inner + i has its classes `inner` elements
// apart. For the losses of single elements, BCE and MSE, every element is a sample: classes = inner = 1.
typedef struct {
    size_t outer, classes, inner;
    const void *x;      // the input; forward's output in the backward passes
    const void *other;  // dy, or the target of x's shape; NULL where `labels` are the target
    void *out;          // y, or the gradient; may be x, and but for the cross-entropy `other`
    // Of losses:
    const int64_t *labels;   // one for each sample, in [0, classes) or `ignored`
    int64_t ignored;         // this label's loss and gradient are 0
    const void *weight;      // one for each class; BCE: each element; NULL: 1
    const void *pos_weight;  // BCE: of the target's 1, one for each element; NULL: 1
    double keep, uniform;    // cross-entropy: the target t stands for keep t + uniform (label smoothing)
    double margin;           // hinge
    double scale;            // of the gradient
    void *losses;            // one for each sample; NULL: not wanted
} fastnn_samples;

// *loss: the sum of the losses, in an order that depends on the shape alone. False if interrupted.
bool fastnn_run_samples(fastnn_samples_kind kind, bool float64, const fastnn_samples *call, double *loss);
// The first label that is neither in [0, classes) nor `ignored`; `count` if there is none. *total: the sum of the
// others' weights, their number without weights.
size_t fastnn_check_labels(bool float64, size_t count, const int64_t *labels, size_t classes, int64_t ignored,
                           const void *weight, double *total);

// ---- matrix products -----------------------------------------------------------------------------------------------

// Element (i, j) is data[i * row + j * column]; strides count elements.
typedef struct {
    const void *data;
    ptrdiff_t row, column;
} fastnn_matrix;

// c (m, n) = a (m, k) b (k, n), or c += with `add`; c's memory is not that of a or b.
typedef struct {
    bool float64, add;
    size_t m, n, k;
    fastnn_matrix a, b;
    void *c;
    ptrdiff_t row, column;  // c's strides
} fastnn_product;
size_t fastnn_product_scratch(const fastnn_product *product);           // bytes, aligned to 64: 0 to 40 MB
bool fastnn_run_product(const fastnn_product *product, void *scratch);  // false if interrupted

// ---- steps of optimisers -------------------------------------------------------------------------------------------

#define FASTNN_RULE_OPERANDS 5
#define FASTNN_RULE_NUMBERS 8

// One parameter: its data, its gradient, and what the rule remembers of it; contiguous, `count` elements each.
typedef struct {
    size_t count;
    void *operands[FASTNN_RULE_OPERANDS];
    double factor;  // on the step's size
} fastnn_tensor;

// What is added to the gradient g of a parameter p: g becomes +-g + decay p + l1 sign(p), and p becomes (1 - shrink) p
// before the rule moves it.
typedef struct {
    bool negate;
    double decay, l1, shrink;
} fastnn_penalties;

// One rule on a list of tensors, with the rule's numbers (optimizer_kernels.c).
typedef struct {
    int rule;
    bool float64;
    size_t tensors;
    const fastnn_tensor *tensor;
    fastnn_penalties penalties;
    double numbers[FASTNN_RULE_NUMBERS];
} fastnn_step;

int fastnn_find_rule(const char *name);  // -1: there is none
const char *fastnn_rule_name(int rule);  // in the order of optimizers.def; NULL past the end
int fastnn_rule_operands(int rule);      // how many arrays the rule takes for each parameter
// Always to the end: an interrupt must not leave half of the parameters behind.
void fastnn_run_step(const fastnn_step *step);

typedef enum { FASTNN_SQUARES, FASTNN_SIZES, FASTNN_LARGEST, FASTNN_REDUCTIONS } fastnn_reduction;
// results[2 t]: the sum of squares, the sum of sizes or the largest size (NaN if there is one) of tensor t's operand 0.
// A rule that is not -1 runs meanwhile, and results[2 t + 1] is the same of what it leaves in its last operand,
// which is scratch and not given. `scratch` has fastnn_reduction_scratch(step) elements.
void fastnn_run_reduction(const fastnn_step *step, fastnn_reduction reduction, double *results, double *scratch);
size_t fastnn_reduction_scratch(const fastnn_step *step);
// Scales the rows of x (rows, length) down to a norm of at most `limit`.
void fastnn_limit_rows(bool float64, size_t rows, size_t length, void *x, double limit);

// ---- random numbers ------------------------------------------------------------------------------------------------

// Philox4x32-10 with key = seed and counter = (block, offset). Element i takes draw i % 8 of block i / 8: the block's
// 128 bits are eight 16-bit draws, the low half of word 0 first.
typedef struct {
    uint64_t seed, offset;
    double lower, upper;
} fastnn_uniform_state;
// The draws of whole blocks, eight of each.
void fastnn_draw_blocks(uint64_t seed, uint64_t offset, uint64_t first, size_t blocks, uint16_t *draws);
void fastnn_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
// The map's kernel and parameters are not used; its output may be its input, in the same layout. `unit` elements that
// follow each other in C order (a channel, a sample) share a draw. False if interrupted.
bool fastnn_run_dropout(const fastnn_map *map, const fastnn_dropout *dropout, size_t unit);
// Which of the elements `first` and following are kept: bytes 0 and 1, or packed, element first + i in bit i % 8 of
// byte i / 8.
bool fastnn_run_dropout_mask(const fastnn_dropout *dropout, uint64_t first, size_t count, bool packed, uint8_t *mask);

// An operand's `generate`: lower + (upper - lower) (draw + 1/2) / 2^16.
void fastnn_generate_uniform(const fastnn_operand *self, size_t first, size_t count, void *to);

// ---- windows: convolution and pooling -----------------------------------------------------------------------------

// One axis of windows that slide over an image: tap t of window i is at index start + i stride + t step. What is
// outside [0, size) is padding.
typedef struct {
    size_t size, places, taps, stride;  // of the image; windows; elements of a window; from a window to the next
    ptrdiff_t start, step;
} fastnn_axis;

// y[n, g, o] = bias[g, o] + the sum over channels c and taps (i, j) of weight[g, o, c, i, j] x[n, g, c, ...];
// contiguous arrays (samples, groups, channels, ...), (samples, groups, outputs, ...), (groups, outputs, channels,
// taps).
typedef struct {
    bool float64;
    size_t samples, groups, channels, outputs;  // the last two: of a group
    fastnn_axis axis[2];
    const void *x, *weight, *bias;  // bias: NULL: 0
    void *y;                        // forward
    const void *dy;                 // backward
    void *dx, *dweight, *dbias;     // dweight and dbias: NULL: not wanted
} fastnn_convolution;
fastnn_outcome fastnn_convolve(const fastnn_convolution *call);
fastnn_outcome fastnn_convolve_backward_input(const fastnn_convolution *call);
// Sums over samples are in an order that depends on the shape alone.
fastnn_outcome fastnn_convolve_backward_weight(const fastnn_convolution *call);

typedef enum { FASTNN_MAX_POOL, FASTNN_MEAN_POOL } fastnn_pool_kind;

// Of contiguous (planes, rows, columns). The padding is -infinity for the maximum, 0 for the mean.
typedef struct {
    fastnn_pool_kind kind;
    bool float64;
    size_t planes;
    fastnn_axis axis[2];
    size_t where_bytes;        // of an element of `where`: 1, or 4 where windows have more than 256 taps
    const double *divisor[2];  // mean: of rows and columns of windows; the divisor is the product
    const void *x;             // forward
    void *y;
    const void *dy;  // backward, if it is not NULL
    void *dx;
    void *where;  // max: which tap of the window it was
} fastnn_pool;
fastnn_outcome fastnn_run_pool(const fastnn_pool *pool);

// The same over regions: result (i, j) is of rows begin[0][i] ... end[0][i] - 1 and columns begin[1][j] ... end[1][j] -
// 1, none of them empty; with `each`, every plane has such lists of its own, one behind the other. A mean is divided by
// its elements.
typedef struct {
    fastnn_pool_kind kind;
    bool float64, each;
    size_t planes, size[2], places[2], where_bytes;
    const int64_t *begin[2], *end[2];
    const void *x;
    void *y;
    const void *dy;
    void *dx;
    void *where;
} fastnn_regions;
fastnn_outcome fastnn_run_regions(const fastnn_regions *regions);

// ---- threads -------------------------------------------------------------------------------------------------------

// Exported under these names: a threadpoolctl controller finds them in the module.
__attribute__((visibility("default"))) int fastnn_get_num_threads(void);
__attribute__((visibility("default"))) void fastnn_set_num_threads(int count);  // count >= 1
int fastnn_usable_cpus(void);                                                   // by affinity and cgroup quota
// CPUs in a cgroup v2 cpu.max line ("max 100000", "150000 100000"), rounded up; 0: no limit.
int fastnn_parse_cpu_max(const char *line);
// Called now and then by the thread that waits for a long call; nonzero abandons the rest of the work.
void fastnn_set_interrupt_check(int (*check)(void));

typedef void (*fastnn_task)(const void *context, size_t piece);
// Runs task(context, 0 ... pieces - 1) on the pool and the calling thread. False if interrupted.
bool fastnn_parallel(size_t pieces, fastnn_task task, const void *context);
// The same for work that must not stop halfway: the interrupt waits.
void fastnn_parallel_to_end(size_t pieces, fastnn_task task, const void *context);

// ---- memory --------------------------------------------------------------------------------------------------------

void *fastnn_allocate(size_t bytes);  // NULL: out of memory
void fastnn_release(void *memory);
void *fastnn_resize(void *memory, size_t bytes);
size_t fastnn_cached_bytes(void);
void fastnn_empty_cache(void);

#endif
