// Before the first round: counts are cleared, and what follows from the anchors and their floors is worked out. A block
// an anchor.
#include "rules.cuh"

KERNEL(128, 4) prepare(const Search* search, int round) {
  const Search& s = *search;
  if (blockIdx.x == 0 && threadIdx.x < ROUNDS_MAX) {
    s.unit_counts[threadIdx.x] = 0;
    s.overflows[threadIdx.x] = 0;
  }
  const int q = blockIdx.x;
  if (q >= s.anchors) return;

  __shared__ int ones, total;
  if (threadIdx.x == 0) ones = total = 0;
  __syncthreads();
  int my_ones = 0, my_total = 0;
  const u32* code = (const u32*)(s.codes + (s64)q * s.row_bytes);
  for (int k = threadIdx.x; k < 2 * s.words; k += blockDim.x) my_ones += __popc(code[k]);
  if (s.scoring == ASYMMETRIC)
    for (int k = threadIdx.x; k < 64 * s.words; k += blockDim.x) my_total += s.values[(s64)q * 64 * s.words + k];
  if (my_ones) atomicAdd(&ones, my_ones);
  if (my_total) atomicAdd(&total, my_total);
  __syncthreads();

  if (threadIdx.x == 0) {
    s.ones[q] = ones;
    s.totals[q] = total;
    s.bar_scores[q] = s.floors[q];
    s.bar_ids[q] = ID_LAST;
    s.fills[q] = s.kept[q] = s.counts[q] = 0;
    s.above[q] = s.above_now[q] = 0;
  }
  tune(s, q, s.floors[q]);
}
