// The gradient of a convolution's input. It is a convolution, too: of dy, with the taps in reverse. With a stride it is
// one convolution for each phase of the input.
#include "window/convolution.h"

// A phase of the input along an axis: its elements p, p + stride, p + 2 stride, ... Their gradients are sums over
// windows of dy. Of the forward pass's taps only first, first + every, first + 2 every, ... meet elements of the phase;
// window j of `axis` has one tap for each of these: the place in dy of the window that meets element p + j stride with
// it.
typedef struct {
    fastnn_axis axis;
    size_t first, every;
} phase;

static phase phase_of(const fastnn_axis *axis, size_t number) {
    const ptrdiff_t stride = (ptrdiff_t)axis->stride;
    phase p = {.axis = {.size = axis->places, .stride = 1, .step = -1}};
    p.axis.places = number < axis->size ? divided_up(axis->size - number, axis->stride) : 0;
    p.every = axis->stride / fastnn_common_divisor(axis->stride, (size_t)axis->step);
    for (p.first = 0; p.first < p.every && p.first < axis->taps; p.first++) {
        const ptrdiff_t from = (ptrdiff_t)number - axis->start - (ptrdiff_t)p.first * axis->step;
        if (from % stride != 0) continue;
        p.axis.taps = divided_up(axis->taps - p.first, p.every);
        p.axis.start = from / stride;
        p.axis.step = -(ptrdiff_t)p.every * axis->step / stride;
        break;
    }
    return p;
}

// first: the phase's first element in an image.
static fastnn_outcome run_phase(const fastnn_convolution *call, const fastnn_axis axis[2], const phase *rows,
                                const phase *columns, size_t first) {
    const size_t image[2] = {axis[0].places, axis[1].places}, result[2] = {axis[0].size, axis[1].size};
    fastnn_image_job job = fastnn_make_image_job(call, call->outputs, call->channels, image, result);
    const ptrdiff_t taps = (ptrdiff_t)fastnn_taps(axis), width = (ptrdiff_t)axis[1].taps;
    job.axis[0] = rows->axis, job.axis[1] = columns->axis;
    job.from = call->dy, job.to = (char *)call->dx + first * job.size;
    job.to_column = axis[1].stride, job.to_row *= axis[0].stride;
    job.weights =
        (fastnn_weights){.data = (const char *)call->weight + (rows->first * axis[1].taps + columns->first) * job.size,
                         .channels = call->outputs,
                         .taps = {rows->axis.taps, columns->axis.taps},
                         .output = taps,
                         .channel = (ptrdiff_t)call->channels * taps,
                         .tap = {width * (ptrdiff_t)rows->every, (ptrdiff_t)columns->every}};
    return fastnn_convolve_images(&job);
}

fastnn_outcome fastnn_convolve_backward_input(const fastnn_convolution *call) {
    fastnn_axis axis[2] = {call->axis[0], call->axis[1]};
    fastnn_join_axes(axis);
    for (size_t row = 0; row < axis[0].stride && row < axis[0].size; row++)
        for (size_t column = 0; column < axis[1].stride && column < axis[1].size; column++) {
            const phase rows = phase_of(&axis[0], row), columns = phase_of(&axis[1], column);
            const fastnn_outcome outcome = run_phase(call, axis, &rows, &columns, row * axis[1].size + column);
            if (outcome != FASTNN_DONE) return outcome;
        }
    return FASTNN_DONE;
}
