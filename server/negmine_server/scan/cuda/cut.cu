// After a round: keeps each anchor's best r candidates and raises its bar to the worst of them. A block an anchor.
//
// The r-th best is selected by histograms of what is still possible, first of the scores, then of the ids that share
// its score. Nothing is moved until it is known: where a round overflowed, all anchors drop what it brought, and what
// was seen of it still raises the bars for when it is done again.
#include "rules.cuh"

constexpr int THREADS = 512, WARPS = THREADS / 32;
constexpr int BIN_BITS = 11, BINS = 1 << BIN_BITS, BINS_EACH = BINS / THREADS;
constexpr int MOVED_AT_ONCE = 4;  // of a thread

struct Space {
  int bins[BINS];
  u64 lows[WARPS], highs[WARPS];
  int sums[WARPS];
  int bin, below;  // where the wanted key lies, and how many keys lie below that bin
  int kept;
};

struct FallingScores {  // a key that rises as scores fall
  const float* scores;
  DEVICE bool at(int i, u64& key) const {
    key = (u32)~rank_of(scores[i]);
    return true;
  }
};

constexpr u64 SIGN = 1ull << 63;  // turned, numbers with a sign are in the order of those without
DEVICE s64 id_of(u64 key) { return (s64)(key ^ SIGN); }

struct IdsOfScore {  // the ids of the candidates with one score
  const float* scores;
  const s64* ids;
  float score;
  DEVICE bool at(int i, u64& key) const {
    if (scores[i] != score) return false;
    key = (u64)ids[i] ^ SIGN;
    return true;
  }
};

// The range of all keys.
template <class Keys>
DEVICE void range_of(const Keys& keys, int n, Space& space, u64& low, u64& high) {
  low = ~0ull, high = 0;
  u64 key;
  for (int i = threadIdx.x; i < n; i += THREADS)
    if (keys.at(i, key)) low = key < low ? key : low, high = key > high ? key : high;
  for (int width = 16; width; width /= 2) {
    const u64 other_low = __shfl_xor_sync(WARP, low, width), other_high = __shfl_xor_sync(WARP, high, width);
    low = other_low < low ? other_low : low, high = other_high > high ? other_high : high;
  }
  if (threadIdx.x % 32 == 0) space.lows[threadIdx.x / 32] = low, space.highs[threadIdx.x / 32] = high;
  __syncthreads();
  for (int k = 0; k < WARPS; ++k) {
    low = space.lows[k] < low ? space.lows[k] : low;
    high = space.highs[k] > high ? space.highs[k] : high;
  }
}

// Finds the bin that holds the k-th of the counted keys.
DEVICE void find_bin(Space& space, int k) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int mine = 0;
  for (int b = 0; b < BINS_EACH; ++b) mine += space.bins[threadIdx.x * BINS_EACH + b];
  int up_to = mine;
  for (int width = 1; width < 32; width *= 2) {
    const int other = __shfl_up_sync(WARP, up_to, width);
    if (lane >= width) up_to += other;
  }
  if (lane == 31) space.sums[warp] = up_to;
  __syncthreads();
  for (int w = 0; w < warp; ++w) up_to += space.sums[w];
  int below = up_to - mine;
  if (below <= k && k < up_to) {
    int bin = threadIdx.x * BINS_EACH;
    while (below + space.bins[bin] <= k) below += space.bins[bin++];
    space.bin = bin;
    space.below = below;
  }
  __syncthreads();
}

// The k-th smallest key (from 0) of n; `k` becomes its number among those that are equal to it.
template <class Keys>
DEVICE u64 nth_smallest(const Keys& keys, int n, int& k, Space& space) {
  u64 low, high, key;
  range_of(keys, n, space, low, high);
  while (low < high) {
    const int length = 64 - __clzll((s64)(high - low)), shift = length > BIN_BITS ? length - BIN_BITS : 0;
    for (int b = threadIdx.x; b < BINS; b += THREADS) space.bins[b] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += THREADS)
      if (keys.at(i, key) && key >= low && key <= high) atomicAdd(&space.bins[(key - low) >> shift], 1);
    __syncthreads();
    find_bin(space, k);
    k -= space.below;
    low += (u64)space.bin << shift;
    const u64 end = low + ((1ull << shift) - 1);
    high = end < high ? end : high;
    __syncthreads();
  }
  __syncthreads();
  return low;
}

// Moves what does not come after the bar to the front. Places are given out behind a barrier that follows the loads, so
// that nothing is written over what has not been read.
DEVICE int move_best(const Search& s, int q, int n, float bar, s64 bar_id, Space& space) {
  float* const scores = s.candidate_scores + (s64)q * s.capacity;
  s64* const ids = s.candidate_ids + (s64)q * s.capacity;
  int* const rows = s.candidate_rows + (s64)q * s.capacity;
  if (threadIdx.x == 0) space.kept = 0;
  for (int start = 0; start < n; start += THREADS * MOVED_AT_ONCE) {
    float score[MOVED_AT_ONCE];
    s64 id[MOVED_AT_ONCE];
    int row[MOVED_AT_ONCE];
#pragma unroll
    for (int k = 0; k < MOVED_AT_ONCE; ++k) {
      const int i = start + THREADS * k + threadIdx.x;
      row[k] = i < n ? rows[i] : -1;
      if (i < n) score[k] = scores[i], id[k] = ids[i];
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < MOVED_AT_ONCE; ++k) {
      if (row[k] < 0 || before(bar, bar_id, score[k], id[k])) continue;
      const int place = atomicAdd(&space.kept, 1);
      scores[place] = score[k], ids[place] = id[k], rows[place] = row[k];
    }
  }
  __syncthreads();
  return space.kept;
}

KERNEL(512, 2) cut(const Search* search, int round) {
  __shared__ Space space;
  const Search& s = *search;
  const int q = blockIdx.x;
  if (q >= s.anchors) return;
  const bool dropped = s.overflows[round] != 0;
  const int fills = s.fills[q], n = fills < s.capacity ? fills : s.capacity;
  int kept = dropped ? s.kept[q] : n;
  float bar = s.bar_scores[q];
  s64 bar_id = s.bar_ids[q];
  if (n > s.r) {
    const s64 from = (s64)q * s.capacity;
    int k = s.r - 1;
    bar = score_of(~(u32)nth_smallest(FallingScores{s.candidate_scores + from}, n, k, space));
    bar_id = id_of(nth_smallest(IdsOfScore{s.candidate_scores + from, s.candidate_ids + from, bar}, n, k, space));
    if (!dropped) kept = move_best(s, q, n, bar, bar_id, space);
    else if (bar_id < ID_LAST) ++bar_id;  // what was dropped must come in again
  }
  __syncthreads();  // everybody has read what is written now
  if (threadIdx.x == 0) {
    s.bar_scores[q] = bar;
    s.bar_ids[q] = bar_id;
    s.fills[q] = s.kept[q] = kept;
    if (!dropped) s.above[q] += s.above_now[q];
    s.above_now[q] = 0;
  }
  tune(s, q, bar);
}
