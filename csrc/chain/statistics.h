// Batch norm's statistics: forward the mean and variance of each channel, backward the sums over each channel that the
// gradients are made of; and the per-channel arrays that follow from them.
#ifndef FASTNN_CHAIN_STATISTICS_H
#define FASTNN_CHAIN_STATISTICS_H

#include "chain/visits.h"

// Forward in training: sets the chain's mean, mean_low and, in its variance, m2 (merge_moments.h). The first takes
// channels first ... end - 1 on the calling thread (channels first only), the second takes all channels on all threads.
void fastnn_find_group_moments(const fastnn_chain_job *job, size_t first, size_t end);
fastnn_outcome fastnn_find_moments(const fastnn_chain_job *job);

// From these moments: sets variance and rstd, or leaves m2 in the variance. Where the moments are not finite, they are
// found in another way.
void fastnn_set_statistics(const fastnn_chain_job *job, size_t first, size_t end);
void fastnn_mend_moments(const fastnn_chain_job *job);

// Backward's first pass: sets job->sums to the sums of g and of g xhat, for the same channels.
void fastnn_find_group_sums(const fastnn_chain_job *job, size_t first, size_t end);
fastnn_outcome fastnn_find_sums(const fastnn_chain_job *job);

// Sets job->run.scaling from the statistics, if the chain has a scaling; and backward dweight from the sums, and from
// dbias and dweight job->line.
void fastnn_set_scaling(const fastnn_chain_job *job, size_t first, size_t end);
void fastnn_set_dweight(const fastnn_chain_job *job, size_t first, size_t end);
void fastnn_set_line(const fastnn_chain_job *job, size_t first, size_t end);

#endif
