// Softmax and losses over threads, and checks of labels and probabilities. How the work is cut depends on the shape
// alone, and the losses of the pieces are added in order.
#include <string.h>

#include "runtime/sizes.h"
#include "runtime/workspace.h"
#include "softmax/softmax_kernels.h"

enum {
    SERIAL_ELEMENTS = 16384,  // threads pay from so many elements on
    PIECE_ELEMENTS = 8192,
    MOST_PIECES = 256,
    LARGEST_VECTOR = 16,
    RUN = 256,          // samples whose labels are read at once
    TILE_COLUMNS = 96,  // the samples of a kernel's tile: fewer would be read in shorter runs of memory
};

typedef struct {
    const fastnn_samples *call;
    fastnn_samples_kernel *kernel;  // NULL: nll
    bool float64;
    size_t samples, piece;
    double *losses;  // one for each piece
} samples_job;

// ---- the negative log-likelihood -----------------------------------------------------------------------------------

// It reads one element of each sample, so that no instruction set matters.
static double number_at(bool float64, const void *array, size_t i) {
    return float64 ? ((const double *)array)[i] : (double)((const float *)array)[i];
}
static void set_number(bool float64, void *array, size_t i, double value) {
    if (float64)
        ((double *)array)[i] = value;
    else
        ((float *)array)[i] = (float)value;
}

// Samples first ... first + count - 1, whose memory is adjacent in each class.
static double nll_of_run(const fastnn_samples *call, bool float64, size_t first, size_t count) {
    const size_t bytes = float64 ? sizeof(double) : sizeof(float), step = call->inner;
    const size_t offset = first / step * step * call->classes + first % step;
    const size_t rows = step == 1 ? 1 : call->classes, width = step == 1 ? call->classes : count;
    double spike[RUN], total = 0;
    size_t place[RUN];
    for (size_t i = 0; i < count; i++) {
        const int64_t label = fastnn_label(call->labels, first + i);
        const size_t class = fastnn_class_of(label, call->classes);
        place[i] = offset + class * step + i;
        spike[i] = label == call->ignored ? 0 : call->weight != NULL ? number_at(float64, call->weight, class) : 1;
        const double loss = spike[i] != 0 ? -spike[i] * number_at(float64, call->x, place[i]) : 0;
        if (call->losses != NULL) set_number(float64, call->losses, first + i, loss);
        total += loss;
    }
    for (size_t r = 0; r < rows; r++) memset((char *)call->out + (offset + r * step) * bytes, 0, width * bytes);
    for (size_t i = 0; i < count; i++)
        if (spike[i] != 0) set_number(float64, call->out, place[i], -spike[i] * call->scale);
    return total;
}

static double nll(const fastnn_samples *call, bool float64, size_t first, size_t count) {
    double total = 0;
    for (size_t at = first, end = first + count, run; at < end; at += run) {
        run = smaller(call->inner - at % call->inner, smaller(end - at, RUN));
        total += nll_of_run(call, float64, at, run);
    }
    return total;
}

// ---- pieces --------------------------------------------------------------------------------------------------------

static void run_piece(const void *context, size_t index) {
    const samples_job *job = context;
    const size_t first = index * job->piece, count = smaller(job->samples - first, job->piece);
    if (job->kernel == NULL) {
        job->losses[index] = nll(job->call, job->float64, first, count);
        return;
    }
    void *tiles = fastnn_borrow(2 * SAMPLES_TILE_BYTES);
    job->losses[index] = job->kernel(job->call, first, count, tiles);
    fastnn_give_back(tiles);
}

static size_t samples_in_piece(size_t samples, size_t classes, size_t inner) {
    if (samples * classes < SERIAL_ELEMENTS) return samples;
    size_t piece = PIECE_ELEMENTS / classes;
    if (piece < samples / MOST_PIECES + 1) piece = samples / MOST_PIECES + 1;
    if (inner >= TILE_COLUMNS) return rounded_up(piece, TILE_COLUMNS);
    return inner > 1 || piece > LARGEST_VECTOR ? rounded_up(piece, LARGEST_VECTOR) : piece;
}

fastnn_outcome fastnn_run_samples(fastnn_samples_operation operation, bool float64, const fastnn_samples *call,
                                  double *loss) {
    double losses[MOST_PIECES];
    *loss = 0;
    samples_job job = {
        call, fastnn_current(float64)->softmax->kernels[operation], float64, call->outer * call->inner, 0, losses};
    if (job.samples * call->classes == 0) return FASTNN_DONE;
    job.piece = samples_in_piece(job.samples, call->classes, call->inner);
    const size_t pieces = divided_up(job.samples, job.piece);
    const fastnn_outcome outcome = fastnn_parallel(pieces, run_piece, &job);
    if (outcome != FASTNN_DONE) return outcome;
    for (size_t i = 0; i < pieces; i++) *loss += losses[i];
    return FASTNN_DONE;
}

size_t fastnn_check_labels(bool float64, size_t count, const int64_t *labels, size_t classes, int64_t ignored,
                           const void *weight, double *total) {
    size_t valid = 0, skipped = 0;
    for (size_t i = 0; i < count; i++) {
        valid += (uint64_t)labels[i] < classes;
        skipped += labels[i] == ignored;
    }
    // The ignored label may be a valid one, too.
    const bool all = (ignored >= 0 && (uint64_t)ignored < classes ? valid : valid + skipped) == count;
    for (size_t i = 0; i < count && !all; i++)
        if ((uint64_t)labels[i] >= classes && labels[i] != ignored) return i;
    *total = weight == NULL ? (double)(count - skipped)
                            : fastnn_current(float64)->softmax->sum_weights(count, labels, classes, ignored, weight);
    return count;
}

bool fastnn_are_probabilities(bool float64, size_t count, const void *x) {
    size_t others = 0;
    for (size_t i = 0; i < count && !float64; i++) others += ((const float *)x)[i] < 0 || ((const float *)x)[i] > 1;
    for (size_t i = 0; i < count && float64; i++) others += ((const double *)x)[i] < 0 || ((const double *)x)[i] > 1;
    return others == 0;
}
