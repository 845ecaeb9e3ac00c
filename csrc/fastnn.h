// The C interface that the binding sees: activations and other elementwise maps over strided arrays, chains, norms,
// softmax and losses, preprocessing and augmentation, matrix products, convolution and pooling, dropout and random
// numbers, steps of optimisers; and beneath them the choice of the instruction set, the thread pool and the caching
// allocator. Nothing here knows about Python.
#ifndef FASTNN_H
#define FASTNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// How a call ended. Drivers allocate the scratch memory that they need themselves; a call that finds no memory has
// written nothing. One that is interrupted has not finished its results.
typedef enum { FASTNN_DONE, FASTNN_INTERRUPTED, FASTNN_NO_MEMORY } fastnn_outcome;

// ---- operations (activations.def) ----------------------------------------------------------------------------------

typedef enum { FASTNN_FLOAT32, FASTNN_FLOAT64, FASTNN_FLOAT16, FASTNN_BFLOAT16 } fastnn_dtype;

// How costly an operation is for each element; it decides from how many elements on elementwise.c uses several threads.
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

// The number of a kernel, -1 if there is none of that name. Activation i has kernels 2 i (forward) and 2 i + 1
// (backward, "NAME_backward"); the other kernels follow.
int fastnn_find_kernel(const char *name);

// ---- instruction sets ----------------------------------------------------------------------------------------------

// Selects an instruction set by name, or with NULL the best one that this machine runs. False: unknown or not available
// here.
bool fastnn_select_isa(const char *name);
const char *fastnn_isa(void);  // the selected one
// Number `index` of those that this machine runs, best first; NULL past the last.
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
    bool float64;  // computed in float64, else in float32; operands are of that dtype or of a half type
    int dims;
    const size_t *shape;
    int outputs, inputs;
    fastnn_operand operands[FASTNN_MAX_OUTPUTS + FASTNN_MAX_INPUTS];  // the outputs first
    double parameters[FASTNN_MAX_PARAMETERS];
} fastnn_map;

// out[i] = kernel(in[i], ...). An output may be an input too if both have the same layout.
fastnn_outcome fastnn_run_map(const fastnn_map *map);
// The same for contiguous arrays of the dtype that is computed in; data has the outputs first.
fastnn_outcome fastnn_run_contiguous(int kernel, bool float64, size_t count, void *const *data,
                                     const double *parameters);

// PReLU on contiguous (outer, channels, inner) arrays, with a weight for each channel. Backward gives dx, and dweight
// summed in double in an order that depends on the shape alone. With one channel only the product outer * inner counts.
fastnn_outcome fastnn_prelu(bool float64, size_t outer, size_t channels, size_t inner, const void *x,
                            const void *weight, void *y);
fastnn_outcome fastnn_prelu_backward(bool float64, size_t outer, size_t channels, size_t inner, const void *dy,
                                     const void *x, const void *weight, void *dx, double *dweight);

// Maxout on contiguous (outer, groups, k, inner) arrays; y is (outer, groups, inner), each element the largest of k.
// Which of the k it was is a number of `bits` bits, the winner: `planes` has bit b of all count winners in plane b, of
// (count + 7) / 8 bytes, the least significant plane first.
fastnn_outcome fastnn_maxout(bool float64, size_t outer, size_t groups, size_t k, size_t inner, const void *x, void *y,
                             int bits, uint8_t *planes);
fastnn_outcome fastnn_maxout_backward(bool float64, size_t outer, size_t groups, size_t k, size_t inner, const void *dy,
                                      int bits, const uint8_t *planes, void *dx);

// ---- chains --------------------------------------------------------------------------------------------------------

// y = scale x + shift where the element's 16-bit draw is below `threshold`, else `dropped`, whatever x is. Draws are
// counted from number `first` on.
typedef struct {
    uint64_t seed, offset, first;
    uint32_t threshold;  // 0 to 65536
    double scale, shift, dropped;
} fastnn_dropout;

typedef enum { FASTNN_ACTIVATE, FASTNN_DROP, FASTNN_ADD } fastnn_action;
typedef struct {
    fastnn_action action;
    int activation;
    double parameters[FASTNN_MAX_PARAMETERS];
    fastnn_dropout dropout;
    const void *addend;
    void *daddend;  // backward: where the gradient for the addend goes, or NULL
} fastnn_stage;

#define FASTNN_MAX_STAGES 8

// What a chain computes: y = (x - (mean + mean_low)) rstd weight + bias, channel by channel, and the stages after it.
// Arrays are contiguous, of (outer, channels, inner) elements, or with `channels_last` of (outer, inner, channels).
typedef struct {
    bool float64, channels_last;
    size_t outer, channels, inner;
    bool scaled;    // whether y is scaled as above before the stages
    bool training;  // batch norm in training: mean and rstd depend on x; forward finds them
    double eps;
    double *mean, *rstd;        // NULL: 0 and 1
    double *mean_low;           // what rounding the mean to one float64 lost; NULL: 0
    double *variance;           // of the batch, which forward in training finds
    const void *weight, *bias;  // of the arrays' dtype; NULL: 1 and 0
    size_t elsewhere;           // elements of a channel that other processes have, where the batch is theirs too
    int stages;
    fastnn_stage stage[FASTNN_MAX_STAGES];
} fastnn_chain;

fastnn_outcome fastnn_chain_forward(const fastnn_chain *chain, const void *x, void *y);  // y may be x
// dx may be dy, not x. `sums`: dbias and dweight, or NULL if they are not wanted, which training does not allow.
fastnn_outcome fastnn_chain_backward(const fastnn_chain *chain, const void *dy, const void *x, void *dx,
                                     double *const *sums);

// Batch norm in training whose batch is that of several processes: each calls these for its own elements, of which it
// may have none, and adds up with the others what they find. `elsewhere` counts what the others have.
//
// Forward: fastnn_chain_moments sets mean, mean_low and, in `variance`, the sum of squared deviations from the mean.
// fastnn_moments_to_sums makes of them numbers that can be added up: the count, and for each channel count d and then
// the sum of (x - near)^2, with d = mean - near, for numbers `near` that all processes have. Of their sums over all
// processes fastnn_sums_to_statistics makes the statistics of the whole batch; what is not finite becomes NaN. It
// returns true if some `near` was so far from the mean that digits are lost: then its mean is better as the next
// `near`. With these statistics and `training` = false, fastnn_chain_forward finds y.
fastnn_outcome fastnn_chain_moments(const fastnn_chain *chain, const void *x);
void fastnn_moments_to_sums(const fastnn_chain *chain, const double *near, double *sums);
bool fastnn_sums_to_statistics(const fastnn_chain *chain, const double *sums, const double *near);
// Backward: the sums alone, then dx from the sums over all processes. Both calls take the same arrays; dx keeps what
// the first has found for the second.
fastnn_outcome fastnn_chain_sums(const fastnn_chain *chain, const void *dy, const void *x, void *dx,
                                 double *const *sums);
fastnn_outcome fastnn_chain_gradient(const fastnn_chain *chain, const void *dy, const void *x, void *dx,
                                     double *const *sums);

// Batch norm in evaluation: mean is the running mean, and rstd = 1 / sqrt(running variance + eps).
void fastnn_evaluation(bool float64, size_t channels, double eps, const void *running_mean, const void *running_var,
                       double *mean, double *rstd);
// running = (1 - momentum) running + momentum batch for means and variances, the batch's variances times `factor`; with
// `skip` only for channels where both are finite as running values.
void fastnn_update_running(bool float64, size_t channels, void *running_mean, void *running_var, const double *mean,
                           const double *variance, double factor, double momentum, bool skip);

// ---- norms of rows -------------------------------------------------------------------------------------------------

// Layer, RMS, group and instance norm of contiguous (rows, channels, inner) elements. Each row has its own mean and
// variance, and each of its channels a weight and a bias; row r takes the weights and biases of group r % groups. Group
// and instance norm may have the channels last: (rows / groups, inner, groups, channels) elements.
typedef struct {
    bool float64;
    bool channels_last;
    bool given;  // mean and rstd are given, and do not depend on x
    size_t rows, groups, channels, inner;
    double eps;
    const void *x;
    const void *weight, *bias;       // groups * channels; NULL: 1 and 0
    double *mean, *rstd, *variance;  // one for each row; mean: NULL for the RMS norm; variance: NULL: not wanted
    void *y;                         // forward only; may be x
    const void *dy;                  // backward only, as the following
    void *dx, *dweight, *dbias;      // dx may be x or dy; dweight and dbias: NULL: not wanted
} fastnn_norm;
fastnn_outcome fastnn_run_norm(const fastnn_norm *norm);
fastnn_outcome fastnn_run_norm_backward(const fastnn_norm *norm);

// ---- softmax and losses --------------------------------------------------------------------------------------------

typedef enum {
    FASTNN_SOFTMAX,
    FASTNN_LOG_SOFTMAX,
    FASTNN_SOFTMAX_BACKWARD,
    FASTNN_LOG_SOFTMAX_BACKWARD,
    FASTNN_CROSS_ENTROPY,
    FASTNN_HINGE,
    FASTNN_NLL,
    FASTNN_BCE_WITH_LOGITS,  // the first loss of elements
    FASTNN_BCE,
    FASTNN_MSE,
    FASTNN_HUBER,
    FASTNN_KL_DIV,
    FASTNN_KL_DIV_OF_LOG,
    FASTNN_SAMPLES_OPERATIONS
} fastnn_samples_operation;

// Contiguous (outer, classes, inner) arrays of one dtype: the classes of sample s = o inner + i are `inner` elements
// apart. For the losses of single elements, from BCE on, every element is a sample: classes = inner = 1.
typedef struct {
    size_t outer, classes, inner;
    const void *x;      // the input; in the backward passes the output of forward
    const void *other;  // dy, or the target of x's shape; NULL if `labels` are the target
    void *out;          // y, or the gradient; may be x and, except for the cross-entropy, `other`
    // For losses only:
    const int64_t *labels;   // one for each sample, in [0, classes) or `ignored`
    int64_t ignored;         // this label's loss and gradient are 0
    const void *weight;      // one for each class; BCE: each element; NULL: 1
    const void *pos_weight;  // BCE with logits: the weight of the positive term, for each element; NULL: 1
    double keep, uniform;    // cross-entropy: the target t becomes keep t + uniform (label smoothing)
    double margin;           // hinge
    double numbers[3];       // Huber: where the line begins, what slopes before it are divided by, the line's slope
    double scale;            // of the gradient
    void *losses;            // one for each sample; NULL: not wanted
} fastnn_samples;

// *loss: the sum of the losses, in an order that depends on the shape alone.
fastnn_outcome fastnn_run_samples(fastnn_samples_operation operation, bool float64, const fastnn_samples *call,
                                  double *loss);
// The first label that is neither in [0, classes) nor `ignored`; `count` if there is none. Then *total is the sum of
// the weights of the labels that are not ignored or, if `weight` is NULL, their number.
size_t fastnn_check_labels(bool float64, size_t count, const int64_t *labels, size_t classes, int64_t ignored,
                           const void *weight, double *total);
bool fastnn_are_probabilities(bool float64, size_t count, const void *x);  // in [0, 1], or NaN

// ---- rows of a table -----------------------------------------------------------------------------------------------

// out[i] = table[indices[i]], rows of so many bytes; the numbers are in [0, length).
fastnn_outcome fastnn_take_rows(size_t length, size_t bytes, const void *table, size_t count, const int64_t *indices,
                                void *out);
// sums[n]: the sum of rows[i] over the i with indices[i] = n, in their order; 0 for n = skipped. Both (..., columns).
fastnn_outcome fastnn_add_rows(bool float64, size_t length, size_t columns, const void *rows, size_t count,
                               const int64_t *indices, int64_t skipped, void *sums);

// ---- augmentation --------------------------------------------------------------------------------------------------

typedef enum { FASTNN_BYTES, FASTNN_FLOATS, FASTNN_DOUBLES } fastnn_pixels;

// A batch of images x, contiguous (samples, channels, height, width), and one of the same samples and channels that is
// made of it, y. The two have no memory in common. Parameters are arrays with a row for each sample.
typedef struct {
    fastnn_pixels pixels;
    size_t samples, channels, height, width, out_height, out_width;
    const void *x;
    void *y;
} fastnn_images;

typedef enum { FASTNN_CONSTANT, FASTNN_EDGE, FASTNN_REFLECT, FASTNN_SYMMETRIC } fastnn_padding;

// y[i, j] = x[top + row_step i, left + column_step j], where steps are 1 or -1; what is beyond the image's edge is
// `fill`, a pixel for each channel, or what `padding` says. crops: (top, row_step, left, column_step).
fastnn_outcome fastnn_crop_images(const fastnn_images *images, fastnn_padding padding, const void *fill,
                                  const int64_t *crops);
// y[i, j] = x[d j + e i + f, a j + b i + c], the nearest pixel or the bilinear mean of four; pixels beyond the edge are
// `fill`. matrices: (a, b, c, d, e, f).
fastnn_outcome fastnn_warp_images(const fastnn_images *images, bool bilinear, const double *fill,
                                  const double *matrices);
// y is a box of x, resized by bilinear interpolation; antialias: where it shrinks, each pixel is a mean over all that
// it covers, weighted by a triangle. boxes: (top, left, height, width).
fastnn_outcome fastnn_resize_boxes(const fastnn_images *images, bool antialias, const int64_t *boxes);

typedef enum { FASTNN_BRIGHTNESS, FASTNN_CONTRAST, FASTNN_SATURATION } fastnn_adjustment;

// Adjusts the colours of images of 1 or 3 channels, step after step. adjustments, factors: one for each step.
fastnn_outcome fastnn_adjust_colours(const fastnn_images *images, size_t steps, const int64_t *adjustments,
                                     const double *factors);
// y = x + mean + sigma z with normal numbers z; element i has number first + i of the key (noise.c). clip: to [0, 1].
// For bytes mean and sigma are in units of 255, and what does not fit is clipped always.
typedef struct {
    uint64_t seed, offset, first;
    double mean, sigma;
    bool clip;
} fastnn_noise;
fastnn_outcome fastnn_add_noise(const fastnn_images *images, const fastnn_noise *noise);
// y[n] = weights[n] x[n] + (1 - weights[n]) x[n - 1], the last sample's for n = 0
fastnn_outcome fastnn_blend_samples(const fastnn_images *images, const double *weights);
// y is x, but in the box of sample n it is source[n - back], of x's shape, or where `source` is NULL `fill`, a pixel
// for each channel. boxes: (top, left, bottom, right).
fastnn_outcome fastnn_patch_images(const fastnn_images *images, const int64_t *boxes, const void *source, size_t back,
                                   const void *fill);

// ---- preprocessing of samples --------------------------------------------------------------------------------------

// y = ((x - mean) - mean_low) factor, with statistics for each channel or, with `each`, for each of a sample's
// (channels, inner) elements. x is (samples, channels, inner), or with `channels_last` (samples, inner, channels); y is
// always the former. x is of uint8 with `bytes`, else of y's dtype, which the statistics have too.
typedef struct {
    bool float64, bytes, channels_last, each;
    size_t samples, channels, inner;
    const void *mean, *mean_low, *factor;
} fastnn_standardization;

// y may be x if both have the same layout and dtype.
fastnn_outcome fastnn_standardize(const fastnn_standardization *standardization, const void *x, void *y);

// ---- matrix products -----------------------------------------------------------------------------------------------

// Element (i, j) is data[i * row + j * column]; strides count elements.
typedef struct {
    const void *data;
    ptrdiff_t row, column;
} fastnn_matrix;

// c (m, n) = a (m, k) b (k, n), or c += with `add`; the memory of c must be apart from that of a and b.
typedef struct {
    bool float64, add;
    size_t m, n, k;
    fastnn_matrix a, b;
    void *c;
    ptrdiff_t row, column;  // c's strides
} fastnn_product;
fastnn_outcome fastnn_run_product(const fastnn_product *product);

// ---- steps of optimisers -------------------------------------------------------------------------------------------

#define FASTNN_RULE_OPERANDS 5
#define FASTNN_RULE_NUMBERS 8

// One parameter: its data, its gradient and the rule's states; contiguous arrays of `count` elements each.
typedef struct {
    size_t count;
    void *operands[FASTNN_RULE_OPERANDS];
    double factor;  // the size of this parameter's step is multiplied by it
    // Where the operands' values are before the step, if it is to leave them as they are; NULL: in the operands.
    const void *sources[FASTNN_RULE_OPERANDS];
} fastnn_tensor;

// The gradient g of a parameter p becomes +-g + decay p + l1 sign(p), and p becomes (1 - shrink) p before the rule
// takes its step.
typedef struct {
    bool negate;
    double decay, l1, shrink;
} fastnn_penalties;

// One rule on a list of tensors. The meaning of `numbers` is up to the rule (optimizer_kernels.c).
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
// Runs to the end in any case: an interrupt must not leave the parameters half updated.
void fastnn_run_step(const fastnn_step *step);

typedef enum { FASTNN_SQUARES, FASTNN_SIZES, FASTNN_LARGEST, FASTNN_REDUCTIONS } fastnn_reduction;
// results[2 t] is the sum of squares, the sum of sizes or the largest size (NaN if there is a NaN) of operand 0 of
// tensor t. If `rule` is not -1, the rule runs meanwhile, and results[2 t + 1] is the same of the rule's last operand,
// which the tensors do not have: it is scratch memory. Runs to the end in any case.
fastnn_outcome fastnn_run_reduction(const fastnn_step *step, fastnn_reduction reduction, double *results);
// Scales the rows of x (rows, length) down to a norm of at most `limit`.
void fastnn_limit_rows(bool float64, size_t rows, size_t length, void *x, double limit);

// ---- random numbers ------------------------------------------------------------------------------------------------

// Philox4x32-10 with key = seed and counter = (block, offset). Element i takes draw i % 8 of block i / 8: the block's
// 128 bits are eight 16-bit draws, the low half of word 0 first. Where a part of a batch is computed, elements are
// counted from `first` on.
typedef struct {
    uint64_t seed, offset, first;
    double lower, upper;
} fastnn_uniform_state;
// The draws of blocks first ... first + blocks - 1, eight of each.
void fastnn_draw_blocks(uint64_t seed, uint64_t offset, uint64_t first, size_t blocks, uint16_t *draws);
// One block, of any counter and key: the function as Random123 defines it.
void fastnn_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
// Dropout of the map's input to its output, which may be the input in the same layout; the map's kernel and parameters
// are not used. `unit` elements that follow each other in C order (a channel, a sample) share a draw.
fastnn_outcome fastnn_run_dropout(const fastnn_map *map, const fastnn_dropout *dropout, size_t unit);
// Which of `count` elements are kept: a byte for each, 0 or 1, or if packed a bit, that of element i being bit i % 8 of
// byte i / 8.
fastnn_outcome fastnn_run_dropout_mask(const fastnn_dropout *dropout, size_t count, bool packed, uint8_t *mask);

// An operand's `generate`: lower + (upper - lower) (draw + 1/2) / 2^16.
void fastnn_generate_uniform(const fastnn_operand *self, size_t first, size_t count, void *to);

// ---- windows: convolution and pooling -----------------------------------------------------------------------------

// One axis of windows that slide over an image: tap t of window i is at index start + i stride + t step. Indices
// outside [0, size) are padding.
typedef struct {
    size_t size, places;  // elements of the image; windows
    size_t taps, stride;  // elements of a window; the distance of neighbouring windows
    ptrdiff_t start, step;
} fastnn_axis;

// y[n, g, o] = bias[g, o] + the sum over channels c and taps (i, j) of weight[g, o, c, i, j] x[n, g, c, ...];
// contiguous arrays (samples, groups, channels, ...), (samples, groups, outputs, ...), (groups, outputs, channels,
// taps).
typedef struct {
    bool float64;
    size_t samples, groups, channels, outputs;  // channels and outputs of one group
    fastnn_axis axis[2];
    const void *x, *weight, *bias;  // bias may be NULL: 0
    void *y;                        // forward
    const void *dy;                 // backward
    void *dx, *dweight, *dbias;     // dweight and dbias may be NULL: not wanted
} fastnn_convolution;
fastnn_outcome fastnn_convolve(const fastnn_convolution *call);
fastnn_outcome fastnn_convolve_backward_input(const fastnn_convolution *call);
// The order of the sums over samples depends on the shape alone.
fastnn_outcome fastnn_convolve_backward_weight(const fastnn_convolution *call);

typedef enum { FASTNN_MAX_POOL, FASTNN_MEAN_POOL } fastnn_pool_mode;

// Pooling of contiguous (images, rows, columns); each channel of each sample is an image. The padding is -infinity for
// the maximum, 0 for the mean.
typedef struct {
    fastnn_pool_mode mode;
    bool float64;
    size_t images;
    fastnn_axis axis[2];
    size_t argmax_bytes;       // of an element of `argmax`: 1, or 4 if windows have more than 256 taps
    const double *divisor[2];  // mean: of rows and columns of windows; a window's divisor is the product of two
    const void *x;             // forward
    void *y;
    const void *dy;  // backward, if it is not NULL
    void *dx;
    void *argmax;  // max: the tap of the window that each element of y is
} fastnn_pool;
fastnn_outcome fastnn_run_pool(const fastnn_pool *pool);

// The same over regions: result (i, j) is that of rows begin[0][i] ... end[0][i] - 1 and columns begin[1][j] ...
// end[1][j] - 1; no region is empty. With `per_image` each image has lists of its own, one behind the other. A mean is
// the sum divided by the number of the region's elements.
typedef struct {
    fastnn_pool_mode mode;
    bool float64, per_image;
    size_t images, size[2], places[2], argmax_bytes;
    const int64_t *begin[2], *end[2];
    const void *x;
    void *y;
    const void *dy;
    void *dx;
    void *argmax;  // max: the element of the region, counted row by row
} fastnn_regions;
fastnn_outcome fastnn_run_regions(const fastnn_regions *regions);

// ---- threads -------------------------------------------------------------------------------------------------------

// Exported under these names: a threadpoolctl controller finds them in the module.
__attribute__((visibility("default"))) int fastnn_get_num_threads(void);
__attribute__((visibility("default"))) void fastnn_set_num_threads(int count);  // count >= 1
int fastnn_usable_cpus(void);  // those that CPU affinity and a container's quota allow; on macOS the performance cores
size_t fastnn_usable_memory(void);  // bytes: the machine's, or those of its container
// Sets what the calling thread of a long call asks now and then: if it returns nonzero, the pieces that have not begun
// are given up, and the call is interrupted.
void fastnn_set_interrupt_check(int (*check)(void));

typedef void (*fastnn_task)(const void *context, size_t piece);
// Runs task(context, 0 ... pieces - 1) on the pool and the calling thread. Each piece has its thread's workspace
// (runtime/workspace.h).
fastnn_outcome fastnn_parallel(size_t pieces, fastnn_task task, const void *context);
// The same for work that must not stop halfway: it is not interrupted, and has no workspace.
void fastnn_parallel_to_end(size_t pieces, fastnn_task task, const void *context);

// ---- memory --------------------------------------------------------------------------------------------------------

// The caching allocator: memory is aligned to 64 bytes, and what is released is kept for the next request of its size.
void *fastnn_allocate(size_t bytes);  // NULL: out of memory
void fastnn_release(void *memory);    // may be NULL
// A new block with the old one's contents, which is released. NULL: out of memory, and the old block stays.
void *fastnn_resize(void *memory, size_t bytes);
size_t fastnn_cached_bytes(void);
void fastnn_empty_cache(void);

#endif
