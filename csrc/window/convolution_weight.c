// The gradients of a convolution's weight and bias. Their sums over samples and windows are cut into parts, in an order
// that depends on the shape alone.
#include <string.h>

#include "window/convolution.h"

enum {
    BLOCK_BYTES = 512 << 10,  // of phase planes and dy
    PIECES = 16,              // each has sums of its own
    PIECE_OUTPUTS = 64,
    PIECE_CHANNELS = 32,
    PARTIAL_BYTES = 8 << 20,  // for the parts' sums, if there are not more weights
};

// A piece computes the sums of some outputs and channels of a group, over one part of the blocks. The sums of all parts
// are added up at the end, in order. An output's last sum is that of its bias, which counts as one more tap: it reads 1
// everywhere.
typedef struct {
    const fastnn_convolution *call;
    const fastnn_window_table *table;
    size_t size;  // bytes of an element
    fastnn_axis axis[2];
    size_t taps, row;  // row: how many sums an output has
    size_t outputs_of_piece, channels_of_piece;
    size_t output_pieces, channel_pieces, parts;
    fastnn_cut cut;
    size_t runs_bytes, places_bytes, planes_bytes;  // of a slot, which has runs, places, phase planes and dy
    double *sums;                                   // [part][group][output][row]
    fastnn_scratch scratch;
} weight_job;

// The part of all sums that a piece computes.
typedef struct {
    size_t group, output, outputs, channel, channels;
    bool biased;
    double *sums;
} share;

// Fills `planes` with the phase planes of a share's channels, behind them one of ones for the bias, and `runs` with the
// offset of each channel's taps in them. Returns how many runs there are.
static size_t prepare_taps(const weight_job *job, const share *s, const fastnn_block *block, size_t sample,
                           size_t *runs, char *planes) {
    const size_t channel = (sample * job->call->groups + s->group) * job->call->channels + s->channel;
    const char *x = (const char *)job->call->x + channel * block->channel_stride * job->size;
    job->table->prepare(block, x, s->channels, 0, planes);
    const size_t count = s->channels * job->taps;
    if (count > 0) fastnn_find_offsets(block, runs);
    for (size_t i = job->taps; i < count; i++) runs[i] = runs[i - job->taps] + block->channel;
    if (!s->biased) return count;
    fastnn_block ones = *block;  // nothing but padding
    ones.axis[0].size = ones.axis[1].size = 0;
    job->table->prepare(&ones, x, 1, 1, planes + s->channels * block->channel * job->size);
    runs[count] = s->channels * block->channel;
    return count + 1;
}

// Elements from one output's copy of dy to the next.
static size_t dy_pitch(size_t rows, size_t vectors) {
    return divided_up(larger(rows, vectors), FASTNN_BLOCK_SLACK) * FASTNN_BLOCK_SLACK;
}

// Copies dy of a share's outputs to the layout of the block's vectors, with 0 between rows.
static void prepare_dy(const weight_job *job, const share *s, const fastnn_block *block, const fastnn_vectors *vectors,
                       const char *from, size_t pitch, char *to) {
    fastnn_block dy = {.samples = block->samples, .phases = {1, 1}, .channel = pitch};
    for (int d = 0; d < 2; d++) {
        dy.first[d] = block->first[d], dy.places[d] = block->places[d];
        dy.axis[d] = (fastnn_axis){block->first[d] + block->places[d], job->axis[d].places, 1, 1, 0, 1};
    }
    dy.extent[0] = vectors->sample / vectors->row, dy.extent[1] = vectors->row;
    dy.plane = dy.samples * vectors->sample;
    dy.row_stride = job->axis[1].places, dy.channel_stride = job->axis[0].places * job->axis[1].places;
    dy.sample_stride = job->call->groups * job->call->outputs * dy.channel_stride;
    job->table->prepare(&dy, from, s->outputs, 0, to);
}

// Adds one block to a share's sums. If rows are whole vectors, dy is read in place.
static void add_block(const weight_job *job, const share *s, size_t index, char *slot) {
    const fastnn_convolution *call = job->call;
    const size_t lanes = job->table->lanes, width = job->axis[1].places, result = job->axis[0].places * width;
    size_t sample, *runs = (size_t *)slot, pitch = result;
    fastnn_block block = fastnn_block_of(&job->cut, job->axis, call->samples, index, &sample);
    block.row_stride = job->axis[1].size, block.channel_stride = job->axis[0].size * job->axis[1].size;
    block.sample_stride = call->groups * call->channels * block.channel_stride;
    const fastnn_vectors vectors = fastnn_lay_out(&block, lanes, call->channels * job->taps);
    fastnn_place *places = (fastnn_place *)(slot + job->runs_bytes);
    char *planes = slot + job->places_bytes, *copy = planes + job->planes_bytes;
    const size_t count = prepare_taps(job, s, &block, sample, runs, planes);
    const size_t output = (sample * call->groups + s->group) * call->outputs + s->output;
    const char *dy = (const char *)call->dy + output * result * job->size;
    if (vectors.flat || block.places[1] % lanes != 0) {
        pitch = dy_pitch(block.samples * vectors.sample, vectors.count * lanes);
        fastnn_find_places(&block, &vectors, lanes, vectors.row, vectors.sample, places);
        prepare_dy(job, s, &block, &vectors, dy, pitch, copy);
        dy = copy;
    } else {
        fastnn_find_places(&block, &vectors, lanes, width, call->groups * call->outputs * result, places);
        dy += (block.first[0] * width + block.first[1]) * job->size;
    }
    job->table->gradient(planes, runs, count, dy, pitch, s->outputs, places, vectors.count, s->sums, job->row);
}

static void sum_piece(const void *context, size_t index) {
    const weight_job *job = context;
    const fastnn_convolution *call = job->call;
    const size_t rest = index / job->channel_pieces / job->output_pieces, part = rest / call->groups;
    share s = {.group = rest % call->groups,
               .output = index / job->channel_pieces % job->output_pieces * job->outputs_of_piece,
               .channel = index % job->channel_pieces * job->channels_of_piece};
    s.outputs = smaller(job->outputs_of_piece, call->outputs - s.output);
    s.channels = smaller(job->channels_of_piece, call->channels - s.channel);
    s.biased = call->dbias != NULL && s.channel + s.channels == call->channels;
    if (call->dweight == NULL) {
        if (!s.biased) return;
        s.channel = call->channels, s.channels = 0;
    }
    s.sums = job->sums + (rest * call->outputs + s.output) * job->row + s.channel * job->taps;
    const size_t count = s.channels * job->taps + s.biased, blocks = fastnn_blocks(&job->cut);
    for (size_t o = 0; o < s.outputs; o++) memset(s.sums + o * job->row, 0, count * sizeof *s.sums);
    char *slot = fastnn_take_scratch(&job->scratch);
    for (size_t block = part * blocks / job->parts; block < (part + 1) * blocks / job->parts; block++)
        add_block(job, &s, block, slot);
    fastnn_give_scratch(&job->scratch, slot);
}

// Adds up the parts' sums of one output, and rounds the totals to the dtype.
static void add_parts(const void *context, size_t index) {
    const weight_job *job = context;
    const size_t weights = job->row - 1, all = job->call->groups * job->call->outputs;
    const size_t begin = job->call->dweight == NULL ? weights : 0, end = weights + (job->call->dbias != NULL);
    double *sums = job->sums + index * job->row;
    for (size_t part = 1; part < job->parts; part++)
        for (size_t i = begin; i < end; i++) sums[i] += sums[part * all * job->row + i];
    if (job->call->dweight != NULL)
        job->table->round_sums(weights, sums, (char *)job->call->dweight + index * weights * job->size);
    if (job->call->dbias != NULL)
        job->table->round_sums(1, sums + weights, (char *)job->call->dbias + index * job->size);
}

// Cuts the work into pieces and lays out a slot; returns a slot's bytes.
static size_t plan(weight_job *job) {
    const fastnn_convolution *call = job->call;
    job->outputs_of_piece = smaller(call->outputs, PIECE_OUTPUTS);
    job->channels_of_piece = smaller(call->channels, PIECE_CHANNELS);
    job->output_pieces = divided_up(call->outputs, job->outputs_of_piece);
    job->channel_pieces = call->channels == 0 ? 1 : divided_up(call->channels, job->channels_of_piece);
    const size_t channels = job->channels_of_piece + 1, outputs = job->outputs_of_piece;
    job->cut =
        fastnn_cut_windows(job->axis, call->samples, channels, outputs, BLOCK_BYTES / job->size, CONVOLUTION_WINDOWS);
    const size_t all = call->groups * call->outputs * job->row, windows = job->axis[0].places * job->axis[1].places;
    const size_t wanted = fastnn_paying_pieces(call->samples * windows * all, PIECES);
    const size_t others = call->groups * job->output_pieces * job->channel_pieces;
    job->parts = smaller(divided_up(wanted, others), PARTIAL_BYTES / sizeof(double) / all);
    fastnn_cut_finer(&job->cut, job->axis, call->samples, job->parts);
    job->parts = larger(smaller(job->parts, fastnn_blocks(&job->cut)), 1);

    const fastnn_block block = fastnn_make_block(job->axis, job->cut.samples, job->cut.places);
    const size_t places = fastnn_most_places(&job->cut, job->table->lanes),
                 flat = block.samples * block.extent[0] * block.extent[1];
    job->runs_bytes = in_lines((channels * job->taps + 1) * sizeof(size_t));
    job->places_bytes = job->runs_bytes + in_lines(places * sizeof(fastnn_place));
    job->planes_bytes = in_lines(channels * block.channel * job->size) + LINE;
    return job->places_bytes + job->planes_bytes + outputs * dy_pitch(flat, places * job->table->lanes) * job->size +
           LINE;
}

fastnn_outcome fastnn_convolve_backward_weight(const fastnn_convolution *call) {
    const fastnn_window_table *table = fastnn_current(call->float64)->window;
    const size_t outputs = call->groups * call->outputs, size = table->bytes;
    weight_job job = {.call = call,
                      .table = table,
                      .size = size,
                      .axis = {call->axis[0], call->axis[1]},
                      .taps = fastnn_taps(call->axis)};
    job.row = call->channels * job.taps + 1;
    fastnn_join_axes(job.axis);
    if (call->samples * outputs * job.axis[0].places * job.axis[1].places == 0) {
        if (call->dweight != NULL) memset(call->dweight, 0, outputs * (job.row - 1) * size);
        if (call->dbias != NULL) memset(call->dbias, 0, outputs * size);
        return FASTNN_DONE;
    }
    const size_t slot_bytes = plan(&job), pieces = job.parts * call->groups * job.output_pieces * job.channel_pieces;
    if (!fastnn_open_scratch(&job.scratch, pieces, slot_bytes, job.parts * outputs * job.row * sizeof(double)))
        return FASTNN_NO_MEMORY;
    job.sums = (double *)job.scratch.shared;
    fastnn_outcome outcome = fastnn_parallel(pieces, sum_piece, &job);
    if (outcome == FASTNN_DONE) outcome = fastnn_parallel(outputs, add_parts, &job);
    fastnn_close_scratch(&job.scratch);
    return outcome;
}
