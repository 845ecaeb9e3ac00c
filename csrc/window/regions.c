// Pooling over regions whose places and sizes are given. A piece of the work is some images.
#include "runtime/scratch.h"
#include "window/window.h"

enum { PIECE_ELEMENTS = 16384, PIECES = 64 };

typedef struct {
    const fastnn_regions *regions;
    const fastnn_window_table *table;
    size_t size;  // bytes of an element
    size_t images_of_piece;
    fastnn_scratch scratch;
} region_job;

static void run_piece(const void *context, size_t index) {
    const region_job *job = context;
    const fastnn_regions *all = job->regions;
    const size_t elements = all->size[0] * all->size[1], results = all->places[0] * all->places[1];
    const size_t first = index * job->images_of_piece, end = smaller(first + job->images_of_piece, all->images);
    char *slot = fastnn_take_scratch(&job->scratch);
    fastnn_regions r = *all;
    for (size_t image = first; image < end; image++) {
        for (int d = 0; d < 2 && all->per_image; d++) {
            r.begin[d] = all->begin[d] + image * all->places[d];
            r.end[d] = all->end[d] + image * all->places[d];
        }
        char *argmax = (char *)all->argmax + image * results * all->argmax_bytes;
        const size_t in_image = image * elements * job->size, in_result = image * results * job->size;
        if (all->dy == NULL)
            job->table->pool_regions(&r, (const char *)all->x + in_image, (char *)all->y + in_result, argmax, slot);
        else
            job->table->unpool_regions(&r, (const char *)all->dy + in_result, (char *)all->dx + in_image, argmax, slot);
    }
    fastnn_give_scratch(&job->scratch, slot);
}

fastnn_outcome fastnn_run_regions(const fastnn_regions *regions) {
    const size_t elements = regions->size[0] * regions->size[1];
    if (regions->images * elements == 0) return FASTNN_DONE;
    const fastnn_window_table *table = fastnn_current(regions->float64)->window;
    region_job job = {.regions = regions, .table = table, .size = table->bytes};
    const size_t pieces = larger(smaller(regions->images * elements / PIECE_ELEMENTS, PIECES), 1);
    job.images_of_piece = divided_up(regions->images, pieces);
    const size_t used = divided_up(regions->images, job.images_of_piece);
    if (!fastnn_open_scratch(&job.scratch, used, regions->size[1] * job.size, 0)) return FASTNN_NO_MEMORY;
    const fastnn_outcome outcome = fastnn_parallel(used, run_piece, &job);
    fastnn_close_scratch(&job.scratch);
    return outcome;
}
