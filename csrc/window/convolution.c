// Convolution without patches: blocks of images are copied to phase planes in the cache (fastnn_block), on which every
// tap of neighbouring windows is one load. A piece of the work is a block; how the work is cut depends on the shape
// alone. The forward pass is here, and the sums over windows that it shares with the input's gradient.
#include "window/convolution.h"

#include <string.h>

enum {
    PLANE_BYTES = 192 << 10,  // of a block's phase planes, in L2
    PIECES = 32,
};

void fastnn_join_axes(fastnn_axis axis[2]) {
    for (int d = 0; d < 2; d++)
        if (axis[d].taps != 1 || axis[d].stride != 1 || axis[d].start != 0 || axis[d].places != axis[d].size) return;
    axis[1].size = axis[1].places = axis[0].size * axis[1].size;
    axis[0].size = axis[0].places = 1;
}

// ---- images to images ----------------------------------------------------------------------------------------------

// The weights of some outputs of a group, as the kernel reads them, and their biases.
static void pack_panel(const void *context, size_t index) {
    const fastnn_image_job *job = context;
    const size_t group = index / job->panels, first = index % job->panels * job->table->panel;
    fastnn_weights weights = job->weights;
    weights.outputs = smaller(job->table->panel, job->outputs - first);
    weights.data =
        (const char *)weights.data + (group * job->group_weights + first * (size_t)weights.output) * job->size;
    job->table->pack(&weights, job->packed + index * job->panel_elements * job->size);
    if (job->bias == NULL) return;
    char *bias = job->packed_bias + index * job->table->panel * job->size;
    memset(bias, 0, job->table->panel * job->size);
    memcpy(bias, job->bias + (group * job->outputs + first) * job->size, weights.outputs * job->size);
}

// All outputs of one group. `staged`: the results are computed side by side in the slot, and copied from there.
static void convolve_group(const fastnn_image_job *job, const fastnn_block *block, const fastnn_vectors *vectors,
                           bool staged, size_t group, char *slot, const char *from, char *to) {
    const size_t *offsets = (const size_t *)slot;
    const fastnn_place *places = (const fastnn_place *)(slot + in_lines(fastnn_taps(job->axis) * sizeof *offsets));
    char *planes = slot + job->places_bytes, *stage = planes + job->planes_bytes;
    const size_t pitch = staged ? vectors->count * job->table->lanes : job->to_output;
    const fastnn_delivery delivery = {block->samples,  block->places[0], block->places[1], vectors->row,
                                      vectors->sample, job->to_column,   job->to_row,      job->to_sample};
    job->table->prepare(block, from, job->channels, 0, planes);
    for (size_t panel = 0; panel < job->panels; panel++) {
        const size_t first = panel * job->table->panel, index = group * job->panels + panel;
        const size_t outputs = smaller(job->table->panel, job->outputs - first);
        const char *bias = job->bias == NULL ? NULL : job->packed_bias + index * job->table->panel * job->size;
        char *results = to + first * job->to_output * job->size;
        job->table->convolve(block, planes, job->channels, outputs,
                             job->packed + index * job->panel_elements * job->size, bias, offsets, places,
                             vectors->count, staged ? stage : results, pitch);
        for (size_t o = 0; staged && o < outputs; o++)
            job->table->deliver(&delivery, stage + o * pitch * job->size, results + o * job->to_output * job->size);
    }
}

static void convolve_block(const void *context, size_t index) {
    const fastnn_image_job *job = context;
    const size_t lanes = job->table->lanes, taps = fastnn_taps(job->axis);
    size_t sample;
    fastnn_block block = fastnn_block_of(&job->cut, job->axis, job->samples, index, &sample);
    block.row_stride = job->from_row, block.channel_stride = job->from_channel, block.sample_stride = job->from_sample;
    const fastnn_vectors vectors = fastnn_lay_out(&block, lanes, job->channels * taps);
    const bool staged = vectors.flat || job->to_column > 1;
    char *slot = fastnn_take_scratch(&job->scratch);
    fastnn_find_offsets(&block, (size_t *)slot);
    fastnn_find_places(&block, &vectors, lanes, staged ? vectors.row : job->to_row,
                       staged ? vectors.sample : job->to_sample,
                       (fastnn_place *)(slot + in_lines(taps * sizeof(size_t))));
    const char *from = job->from + sample * job->from_sample * job->size;
    char *to = job->to +
               (sample * job->to_sample + block.first[0] * job->to_row + block.first[1] * job->to_column) * job->size;
    for (size_t group = 0; group < job->groups; group++)
        convolve_group(job, &block, &vectors, staged, group, slot,
                       from + group * job->channels * job->from_channel * job->size,
                       to + group * job->outputs * job->to_output * job->size);
    fastnn_give_scratch(&job->scratch, slot);
}

fastnn_outcome fastnn_convolve_images(fastnn_image_job *job) {
    const size_t windows = job->samples * job->axis[0].places * job->axis[1].places, taps = fastnn_taps(job->axis);
    if (windows * job->groups * job->outputs == 0) return FASTNN_DONE;
    const size_t lanes = job->table->lanes, panel = job->table->panel,
                 pieces = fastnn_paying_pieces(windows * job->groups * job->outputs * job->channels * taps, PIECES);
    job->cut =
        fastnn_cut_windows(job->axis, job->samples, job->channels, 0, PLANE_BYTES / job->size, CONVOLUTION_WINDOWS);
    fastnn_cut_finer(&job->cut, job->axis, job->samples, pieces);
    job->panels = divided_up(job->outputs, panel);
    job->panel_elements = panel * job->channels * taps;
    const size_t places = fastnn_most_places(&job->cut, lanes);
    const fastnn_block block = fastnn_make_block(job->axis, job->cut.samples, job->cut.places);
    job->places_bytes = in_lines(taps * sizeof(size_t)) + in_lines(places * sizeof(fastnn_place));
    job->planes_bytes = in_lines(job->channels * block.channel * job->size) + LINE;
    const size_t stage_bytes = panel * places * lanes * job->size, panels = job->groups * job->panels;
    const size_t packed_bytes = in_lines(panels * job->panel_elements * job->size);
    if (!fastnn_open_scratch(&job->scratch, fastnn_blocks(&job->cut),
                             job->places_bytes + job->planes_bytes + stage_bytes,
                             packed_bytes + panels * panel * job->size))
        return FASTNN_NO_MEMORY;
    job->packed = job->scratch.shared, job->packed_bias = job->packed + packed_bytes;
    fastnn_outcome outcome = FASTNN_DONE;
    if (panels * job->panel_elements < CONVOLUTION_PIECE_WORK / 4)
        for (size_t i = 0; i < panels; i++) pack_panel(job, i);
    else
        outcome = fastnn_parallel(panels, pack_panel, job);
    if (outcome == FASTNN_DONE) outcome = fastnn_parallel(fastnn_blocks(&job->cut), convolve_block, job);
    fastnn_close_scratch(&job->scratch);
    return outcome;
}

fastnn_image_job fastnn_make_image_job(const fastnn_convolution *call, size_t channels, size_t outputs,
                                       const size_t from[2], const size_t to[2]) {
    const fastnn_window_table *table = fastnn_current(call->float64)->window;
    return (fastnn_image_job){
        .table = table,
        .size = table->bytes,
        .samples = call->samples,
        .groups = call->groups,
        .channels = channels,
        .outputs = outputs,
        .from_row = from[1],
        .from_channel = from[0] * from[1],
        .from_sample = call->groups * channels * from[0] * from[1],
        .to_column = 1,
        .to_row = to[1],
        .to_output = to[0] * to[1],
        .to_sample = call->groups * outputs * to[0] * to[1],
        .group_weights = call->outputs * call->channels * fastnn_taps(call->axis),
    };
}

// ---- forward -------------------------------------------------------------------------------------------------------

fastnn_outcome fastnn_convolve(const fastnn_convolution *call) {
    fastnn_axis axis[2] = {call->axis[0], call->axis[1]};
    fastnn_join_axes(axis);
    const size_t image[2] = {axis[0].size, axis[1].size}, result[2] = {axis[0].places, axis[1].places};
    fastnn_image_job job = fastnn_make_image_job(call, call->channels, call->outputs, image, result);
    const ptrdiff_t taps = (ptrdiff_t)fastnn_taps(axis), columns = (ptrdiff_t)axis[1].taps;
    memcpy(job.axis, axis, sizeof axis);
    job.from = call->x, job.to = call->y, job.bias = call->bias;
    job.weights = (fastnn_weights){.data = call->weight,
                                   .channels = call->channels,
                                   .taps = {axis[0].taps, axis[1].taps},
                                   .output = (ptrdiff_t)call->channels * taps,
                                   .channel = taps,
                                   .tap = {columns, 1}};
    return fastnn_convolve_images(&job);
}
