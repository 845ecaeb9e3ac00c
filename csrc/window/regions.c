// Pooling over regions whose places and sizes are given: a piece of the work is some planes.
#include "runtime/scratch.h"
#include "window/window.h"

enum { PIECE_ELEMENTS = 16384, PIECES = 64 };

typedef struct {
    const fastnn_regions *regions;
    const fastnn_window_table *table;
    size_t size, planes_of_piece;
    fastnn_scratch scratch;
} region_job;

static void run_piece(const void *context, size_t index) {
    const region_job *job = context;
    const fastnn_regions *all = job->regions;
    const size_t image = all->size[0] * all->size[1], result = all->places[0] * all->places[1];
    const size_t first = index * job->planes_of_piece, end = smaller(first + job->planes_of_piece, all->planes);
    char *slot = fastnn_take_scratch(&job->scratch);
    for (size_t plane = first; plane < end; plane++) {
        fastnn_regions r = *all;
        for (int d = 0; d < 2 && all->each; d++) {
            r.begin[d] += plane * all->places[d];
            r.end[d] += plane * all->places[d];
        }
        char *where = (char *)all->where + plane * result * all->where_bytes;
        const size_t in_image = plane * image * job->size, in_result = plane * result * job->size;
        if (all->dy == NULL)
            job->table->pool_regions(&r, (const char *)all->x + in_image, (char *)all->y + in_result, where, slot);
        else
            job->table->unpool_regions(&r, (const char *)all->dy + in_result, (char *)all->dx + in_image, where, slot);
    }
    fastnn_give_scratch(&job->scratch, slot);
}

fastnn_outcome fastnn_run_regions(const fastnn_regions *regions) {
    const size_t image = regions->size[0] * regions->size[1];
    if (regions->planes * image == 0) return FASTNN_DONE;
    region_job job = {
        .regions = regions, .table = fastnn_current(regions->float64)->window, .size = regions->float64 ? 8 : 4};
    const size_t pieces = larger(smaller(regions->planes * image / PIECE_ELEMENTS, PIECES), 1);
    job.planes_of_piece = divided_up(regions->planes, pieces);
    const size_t used = divided_up(regions->planes, job.planes_of_piece);
    if (!fastnn_open_scratch(&job.scratch, used, regions->size[1] * job.size, 0)) return FASTNN_NO_MEMORY;
    const bool done = fastnn_parallel(used, run_piece, &job);
    fastnn_close_scratch(&job.scratch);
    return done ? FASTNN_DONE : FASTNN_INTERRUPTED;
}
