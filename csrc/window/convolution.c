// Convolution without patches: blocks of padded images in cache, on which every tap of neighbouring windows is one load
// (fastnn_block). A piece of the work is a block; how it is cut depends on the shape alone. The input's gradient is a
// convolution too: of dy, with the taps in reverse, once for each phase of a stride.
#include <string.h>

#include "runtime/scratch.h"
#include "window/window.h"

enum {
    PLANE_BYTES = 192 << 10,     // of a block's planes, in L2
    GRADIENT_BYTES = 512 << 10,  // of planes and dy for the weights' gradient
    POSITIONS = 2048,            // windows of a block
    PIECES = 32,
    GRADIENT_PIECES = 16,  // each has sums of its own
    PIECE_WORK = 1 << 18,  // products, at least
    GRADIENT_OUTPUTS = 64,
    GRADIENT_CHANNELS = 32,   // of a piece of the weights' gradient
    PARTIAL_BYTES = 8 << 20,  // for its sums, if there are not more weights
};

// How many pieces pay, of `work` products.
static size_t paying_pieces(size_t work, size_t most) { return larger(smaller(work / PIECE_WORK, most), 1); }

// The vectors of a block's windows. In rows, each row begins a vector; flat, they go on over the planes' halo, whose
// results nobody wants: less is lost so if rows are short, but results are copied once more.
typedef struct {
    bool flat;
    size_t vectors, row, sample;  // where a row's and a sample's results are, in elements, if these are side by side
} layout;

enum { COPY_WORK = 8 };  // what this costs, in products

// work: products for a result.
static layout lay_out(const fastnn_block *block, size_t lanes, size_t work) {
    const size_t row_vectors = divided_up(block->places[1], lanes), rows = block->samples * block->places[0];
    const size_t last_row = (block->samples - 1) * block->extent[0] + block->places[0] - 1;
    const size_t flat_vectors = divided_up(last_row * block->extent[1] + block->places[1], lanes);
    if (flat_vectors * (work + COPY_WORK) < rows * row_vectors * work)
        return (layout){true, flat_vectors, block->extent[1], block->extent[0] * block->extent[1]};
    return (layout){false, rows * row_vectors, row_vectors * lanes, block->places[0] * row_vectors * lanes};
}

// `to` of the results: side by side, or in rows and samples as far apart as given.
static void find_places(const fastnn_block *block, const layout *l, size_t lanes, size_t to_row, size_t to_sample,
                        fastnn_place *places) {
    if (l->flat) {
        for (size_t v = 0; v < l->vectors; v++) places[v] = (fastnn_place){v * lanes, v * lanes, lanes};
        return;
    }
    for (size_t sample = 0; sample < block->samples; sample++)
        for (size_t row = 0; row < block->places[0]; row++)
            for (size_t column = 0; column < block->places[1]; column += lanes)
                *places++ = (fastnn_place){
                    .at = (sample * block->extent[0] + row) * block->extent[1] + column,
                    .to = sample * to_sample + row * to_row + column,
                    .count = smaller(lanes, block->places[1] - column),
                };
}

// The most places that a block of a cut has.
static size_t most_places(const fastnn_cut *cut, size_t lanes) {
    return cut->samples * cut->places[0] * divided_up(cut->places[1], lanes);
}

// Windows of one row or column of a single element are an image without rows.
static void join_axes(fastnn_axis axis[2]) {
    for (int d = 0; d < 2; d++)
        if (axis[d].taps != 1 || axis[d].stride != 1 || axis[d].start != 0 || axis[d].places != axis[d].size) return;
    axis[1].size = axis[1].places = axis[0].size * axis[1].size;
    axis[0].size = axis[0].places = 1;
}

// ---- images to images ----------------------------------------------------------------------------------------------

// A convolution, or one phase of a gradient, which writes every to_column-th element of every so-manieth row.
typedef struct {
    const fastnn_window_table *table;
    size_t size;  // of an element
    size_t samples, groups, channels, outputs;
    fastnn_axis axis[2];
    const char *from, *bias;
    size_t from_row, from_channel, from_sample;
    char *to;
    size_t to_column, to_row, to_output, to_sample;
    fastnn_weights weights;  // of one group
    size_t group_weights;    // elements from a group's to the next

    fastnn_cut cut;
    size_t panels, panel_elements;  // of a group; of a panel
    char *packed, *packed_bias;
    size_t places_bytes, planes_bytes;  // in a slot: offsets, places, planes, staged results
    fastnn_scratch scratch;
} image_job;

static void pack_panel(const void *context, size_t index) {
    const image_job *job = context;
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

static void convolve_group(const image_job *job, const fastnn_block *block, const layout *l, bool staged, size_t group,
                           char *slot, const char *from, char *to) {
    const size_t *offsets = (const size_t *)slot;
    const fastnn_place *places = (const fastnn_place *)(slot + in_lines(fastnn_taps(job->axis) * sizeof *offsets));
    char *planes = slot + job->places_bytes, *stage = planes + job->planes_bytes;
    const size_t pitch = staged ? l->vectors * job->table->lanes : job->to_output;
    const fastnn_delivery delivery = {block->samples, block->places[0], block->places[1], l->row,
                                      l->sample,      job->to_column,   job->to_row,      job->to_sample};
    job->table->prepare(block, from, job->channels, 0, planes);
    for (size_t panel = 0; panel < job->panels; panel++) {
        const size_t first = panel * job->table->panel, index = group * job->panels + panel;
        const size_t outputs = smaller(job->table->panel, job->outputs - first);
        const char *bias = job->bias == NULL ? NULL : job->packed_bias + index * job->table->panel * job->size;
        char *results = to + first * job->to_output * job->size;
        job->table->convolve(block, planes, job->channels, outputs,
                             job->packed + index * job->panel_elements * job->size, bias, offsets, places, l->vectors,
                             staged ? stage : results, pitch);
        for (size_t o = 0; staged && o < outputs; o++)
            job->table->deliver(&delivery, stage + o * pitch * job->size, results + o * job->to_output * job->size);
    }
}

static void convolve_block(const void *context, size_t index) {
    const image_job *job = context;
    const size_t lanes = job->table->lanes, taps = fastnn_taps(job->axis);
    size_t sample;
    fastnn_block block = fastnn_block_of(&job->cut, job->axis, job->samples, index, &sample);
    block.row_stride = job->from_row, block.channel_stride = job->from_channel, block.sample_stride = job->from_sample;
    const layout l = lay_out(&block, lanes, job->channels * taps);
    const bool staged = l.flat || job->to_column > 1;
    char *slot = fastnn_take_scratch(&job->scratch);
    fastnn_find_offsets(&block, (size_t *)slot);
    find_places(&block, &l, lanes, staged ? l.row : job->to_row, staged ? l.sample : job->to_sample,
                (fastnn_place *)(slot + in_lines(taps * sizeof(size_t))));
    const char *from = job->from + sample * job->from_sample * job->size;
    char *to = job->to +
               (sample * job->to_sample + block.first[0] * job->to_row + block.first[1] * job->to_column) * job->size;
    for (size_t group = 0; group < job->groups; group++)
        convolve_group(job, &block, &l, staged, group, slot,
                       from + group * job->channels * job->from_channel * job->size,
                       to + group * job->outputs * job->to_output * job->size);
    fastnn_give_scratch(&job->scratch, slot);
}

static fastnn_outcome run_image_job(image_job *job) {
    const size_t positions = job->samples * job->axis[0].places * job->axis[1].places, taps = fastnn_taps(job->axis);
    if (positions * job->groups * job->outputs == 0) return FASTNN_DONE;
    const size_t lanes = job->table->lanes, panel = job->table->panel,
                 pieces = paying_pieces(positions * job->groups * job->outputs * job->channels * taps, PIECES);
    job->cut = fastnn_cut_windows(job->axis, job->samples, job->channels, 0, PLANE_BYTES / job->size, POSITIONS);
    fastnn_cut_finer(&job->cut, job->axis, job->samples, pieces);
    job->panels = divided_up(job->outputs, panel);
    job->panel_elements = panel * job->channels * taps;
    const size_t places = most_places(&job->cut, lanes);
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
    bool done = true;
    if (panels * job->panel_elements < PIECE_WORK / 4)
        for (size_t i = 0; i < panels; i++) pack_panel(job, i);
    else
        done = fastnn_parallel(panels, pack_panel, job);
    done = done && fastnn_parallel(fastnn_blocks(&job->cut), convolve_block, job);
    fastnn_close_scratch(&job->scratch);
    return done ? FASTNN_DONE : FASTNN_INTERRUPTED;
}

// What forward and the input's gradient share: the sizes of whole images.
static image_job make_image_job(const fastnn_convolution *call, size_t channels, size_t outputs, const size_t from[2],
                                const size_t to[2]) {
    return (image_job){
        .table = fastnn_current(call->float64)->window,
        .size = call->float64 ? 8 : 4,
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

fastnn_outcome fastnn_convolve(const fastnn_convolution *call) {
    fastnn_axis axis[2] = {call->axis[0], call->axis[1]};
    join_axes(axis);
    const size_t image[2] = {axis[0].size, axis[1].size}, result[2] = {axis[0].places, axis[1].places};
    image_job job = make_image_job(call, call->channels, call->outputs, image, result);
    const ptrdiff_t taps = (ptrdiff_t)fastnn_taps(axis), columns = (ptrdiff_t)axis[1].taps;
    memcpy(job.axis, axis, sizeof axis);
    job.from = call->x, job.to = call->y, job.bias = call->bias;
    job.weights = (fastnn_weights){.data = call->weight,
                                   .channels = call->channels,
                                   .taps = {axis[0].taps, axis[1].taps},
                                   .output = (ptrdiff_t)call->channels * taps,
                                   .channel = taps,
                                   .tap = {columns, 1}};
    return run_image_job(&job);
}

// ---- the input's gradient ------------------------------------------------------------------------------------------

// Elements phase, phase + stride, ... of the input, as windows over dy: window j has the taps first, first + every, ...
// of those that cover element phase + j stride, each of them from the window of the forward pass in which it does.
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

static fastnn_outcome run_phase(const fastnn_convolution *call, const fastnn_axis axis[2], const phase *rows,
                                const phase *columns, size_t first) {
    const size_t image[2] = {axis[0].places, axis[1].places}, result[2] = {axis[0].size, axis[1].size};
    image_job job = make_image_job(call, call->outputs, call->channels, image, result);
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
    return run_image_job(&job);
}

fastnn_outcome fastnn_convolve_backward_input(const fastnn_convolution *call) {
    fastnn_axis axis[2] = {call->axis[0], call->axis[1]};
    join_axes(axis);
    for (size_t row = 0; row < axis[0].stride && row < axis[0].size; row++)
        for (size_t column = 0; column < axis[1].stride && column < axis[1].size; column++) {
            const phase rows = phase_of(&axis[0], row), columns = phase_of(&axis[1], column);
            const fastnn_outcome outcome = run_phase(call, axis, &rows, &columns, row * axis[1].size + column);
            if (outcome != FASTNN_DONE) return outcome;
        }
    return FASTNN_DONE;
}

// ---- the weights' gradient -----------------------------------------------------------------------------------------

// A piece has the sums of some outputs and channels of a group, over one part of the blocks. The sums of all parts are
// added up at the end, in order. Those of the bias are the last of an output's: its "tap" is 1 everywhere.
typedef struct {
    const fastnn_convolution *call;
    const fastnn_window_table *table;
    size_t size;
    fastnn_axis axis[2];
    size_t taps, row;  // row: sums of an output
    size_t outputs_of_piece, channels_of_piece;
    size_t output_pieces, channel_pieces, parts;
    fastnn_cut cut;
    size_t runs_bytes, places_bytes, planes_bytes;  // in a slot: runs, places, planes, dy
    double *sums;                                   // [part][group][output][row]
    fastnn_scratch scratch;
} weight_job;

// What a piece does of all sums.
typedef struct {
    size_t group, output, outputs, channel, channels;
    bool biased;
    double *sums;
} share;

// The planes of a share's channels, behind them one of ones for the bias, and where all the taps are.
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

static size_t dy_pitch(size_t rows, size_t vectors) {
    return divided_up(larger(rows, vectors), FASTNN_BLOCK_SLACK) * FASTNN_BLOCK_SLACK;
}

// dy of a share's outputs as the block's vectors want it, with 0 between rows.
static void prepare_dy(const weight_job *job, const share *s, const fastnn_block *block, const layout *l,
                       const char *from, size_t pitch, char *to) {
    fastnn_block dy = {.samples = block->samples, .phases = {1, 1}, .channel = pitch};
    for (int d = 0; d < 2; d++) {
        dy.first[d] = block->first[d], dy.places[d] = block->places[d];
        dy.axis[d] = (fastnn_axis){block->first[d] + block->places[d], job->axis[d].places, 1, 1, 0, 1};
    }
    dy.extent[0] = l->sample / l->row, dy.extent[1] = l->row;
    dy.plane = dy.samples * l->sample;
    dy.row_stride = job->axis[1].places, dy.channel_stride = job->axis[0].places * job->axis[1].places;
    dy.sample_stride = job->call->groups * job->call->outputs * dy.channel_stride;
    job->table->prepare(&dy, from, s->outputs, 0, to);
}

// What one block adds to a share's sums. Where rows are whole vectors, dy is read where it lies.
static void add_block(const weight_job *job, const share *s, size_t index, char *slot) {
    const fastnn_convolution *call = job->call;
    const size_t lanes = job->table->lanes, width = job->axis[1].places, result = job->axis[0].places * width;
    size_t sample, *runs = (size_t *)slot, pitch = result;
    fastnn_block block = fastnn_block_of(&job->cut, job->axis, call->samples, index, &sample);
    block.row_stride = job->axis[1].size, block.channel_stride = job->axis[0].size * job->axis[1].size;
    block.sample_stride = call->groups * call->channels * block.channel_stride;
    const layout l = lay_out(&block, lanes, call->channels * job->taps);
    fastnn_place *places = (fastnn_place *)(slot + job->runs_bytes);
    char *planes = slot + job->places_bytes, *copy = planes + job->planes_bytes;
    const size_t count = prepare_taps(job, s, &block, sample, runs, planes);
    const size_t output = (sample * call->groups + s->group) * call->outputs + s->output;
    const char *dy = (const char *)call->dy + output * result * job->size;
    if (l.flat || block.places[1] % lanes != 0) {
        pitch = dy_pitch(block.samples * l.sample, l.vectors * lanes);
        find_places(&block, &l, lanes, l.row, l.sample, places);
        prepare_dy(job, s, &block, &l, dy, pitch, copy);
        dy = copy;
    } else {
        find_places(&block, &l, lanes, width, call->groups * call->outputs * result, places);
        dy += (block.first[0] * width + block.first[1]) * job->size;
    }
    job->table->gradient(planes, runs, count, dy, pitch, s->outputs, places, l.vectors, s->sums, job->row);
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

// The parts' sums of one output, rounded to the dtype.
static void add_parts(const void *context, size_t index) {
    const weight_job *job = context;
    const size_t weights = job->row - 1, all = job->call->groups * job->call->outputs;
    const size_t begin = job->call->dweight == NULL ? weights : 0, end = weights + (job->call->dbias != NULL);
    double *sums = job->sums + index * job->row;
    for (size_t part = 1; part < job->parts; part++)
        for (size_t i = begin; i < end; i++) sums[i] += sums[part * all * job->row + i];
    if (job->call->float64) {
        if (job->call->dweight != NULL) memcpy((double *)job->call->dweight + index * weights, sums, weights * 8);
        if (job->call->dbias != NULL) ((double *)job->call->dbias)[index] = sums[weights];
        return;
    }
    for (size_t i = 0; job->call->dweight != NULL && i < weights; i++)
        ((float *)job->call->dweight)[index * weights + i] = (float)sums[i];
    if (job->call->dbias != NULL) ((float *)job->call->dbias)[index] = (float)sums[weights];
}

// How the work is cut, and what a slot holds; returns a slot's bytes.
static size_t plan(weight_job *job) {
    const fastnn_convolution *call = job->call;
    job->outputs_of_piece = smaller(call->outputs, GRADIENT_OUTPUTS);
    job->channels_of_piece = smaller(call->channels, GRADIENT_CHANNELS);
    job->output_pieces = divided_up(call->outputs, job->outputs_of_piece);
    job->channel_pieces = call->channels == 0 ? 1 : divided_up(call->channels, job->channels_of_piece);
    const size_t channels = job->channels_of_piece + 1, outputs = job->outputs_of_piece;
    job->cut = fastnn_cut_windows(job->axis, call->samples, channels, outputs, GRADIENT_BYTES / job->size, POSITIONS);
    const size_t all = call->groups * call->outputs * job->row, windows = job->axis[0].places * job->axis[1].places;
    const size_t wanted = paying_pieces(call->samples * windows * all, GRADIENT_PIECES);
    const size_t others = call->groups * job->output_pieces * job->channel_pieces;
    job->parts = smaller(divided_up(wanted, others), PARTIAL_BYTES / sizeof(double) / all);
    fastnn_cut_finer(&job->cut, job->axis, call->samples, job->parts);
    job->parts = larger(smaller(job->parts, fastnn_blocks(&job->cut)), 1);

    const fastnn_block block = fastnn_make_block(job->axis, job->cut.samples, job->cut.places);
    const size_t places = most_places(&job->cut, job->table->lanes),
                 flat = block.samples * block.extent[0] * block.extent[1];
    job->runs_bytes = in_lines((channels * job->taps + 1) * sizeof(size_t));
    job->places_bytes = job->runs_bytes + in_lines(places * sizeof(fastnn_place));
    job->planes_bytes = in_lines(channels * block.channel * job->size) + LINE;
    return job->places_bytes + job->planes_bytes + outputs * dy_pitch(flat, places * job->table->lanes) * job->size +
           LINE;
}

fastnn_outcome fastnn_convolve_backward_weight(const fastnn_convolution *call) {
    const size_t outputs = call->groups * call->outputs, size = call->float64 ? 8 : 4;
    weight_job job = {.call = call,
                      .table = fastnn_current(call->float64)->window,
                      .size = size,
                      .axis = {call->axis[0], call->axis[1]},
                      .taps = fastnn_taps(call->axis)};
    job.row = call->channels * job.taps + 1;
    join_axes(job.axis);
    if (call->samples * outputs * job.axis[0].places * job.axis[1].places == 0) {
        if (call->dweight != NULL) memset(call->dweight, 0, outputs * (job.row - 1) * size);
        if (call->dbias != NULL) memset(call->dbias, 0, outputs * size);
        return FASTNN_DONE;
    }
    const size_t slot_bytes = plan(&job), pieces = job.parts * call->groups * job.output_pieces * job.channel_pieces;
    if (!fastnn_open_scratch(&job.scratch, pieces, slot_bytes, job.parts * outputs * job.row * sizeof(double)))
        return FASTNN_NO_MEMORY;
    job.sums = (double *)job.scratch.shared;
    const bool done = fastnn_parallel(pieces, sum_piece, &job) && fastnn_parallel(outputs, add_parts, &job);
    fastnn_close_scratch(&job.scratch);
    return done ? FASTNN_DONE : FASTNN_INTERRUPTED;
}
