// Softmax and losses over threads, and the check of labels. How the work is cut depends on the shape alone, and the
// losses of the pieces are added in order.
#include "runtime/sizes.h"
#include "runtime/workspace.h"
#include "softmax/softmax_kernels.h"

enum {
    SERIAL_ELEMENTS = 16384,  // threads pay from so many elements on
    PIECE_ELEMENTS = 8192,
    MOST_PIECES = 256,
    LARGEST_VECTOR = 16,
    TILE_COLUMNS = 96,  // the samples of a kernel's tile: fewer would be read in shorter runs of memory
};

typedef struct {
    const fastnn_samples *call;
    fastnn_samples_kernel *kernel;
    size_t samples, piece;
    double *losses;  // one for each piece
} samples_job;

static void run_piece(const void *context, size_t index) {
    const samples_job *job = context;
    const size_t first = index * job->piece, left = job->samples - first;
    void *tiles = fastnn_borrow(2 * SAMPLES_TILE_BYTES);
    job->losses[index] = job->kernel(job->call, first, smaller(left, job->piece), tiles);
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
    samples_job job = {call, fastnn_current(float64)->softmax->kernels[operation], call->outer * call->inner, 0,
                       losses};
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
