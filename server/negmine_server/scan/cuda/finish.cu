// After the last round: sorts each anchor's candidates and writes them out. A block an anchor.
//
// A bitonic sort in place: each merge first compares i with its mirror image in the block, so all comparisons put the
// better candidate first and places beyond the last need not exist. Distances that fit are done in shared memory; the
// few others, of r beyond CHUNK, where the candidates lie. The same candidates may be finished again after more rounds.
#include "rules.cuh"

constexpr int THREADS = 256;
constexpr int CHUNK = 2048;

struct Space {
  s64 ids[CHUNK];
  float scores[CHUNK];
  int rows[CHUNK];
};

struct Candidates {  // arrays of n candidates
  float* scores;
  s64* ids;
  int* rows;
  int n;
};

DEVICE void copy(const Candidates& to, int j, const Candidates& from, int i) {
  to.scores[j] = from.scores[i], to.ids[j] = from.ids[i], to.rows[j] = from.rows[i];
}

DEVICE void put_in_order(const Candidates& list, int i, int j) {
  if (j >= list.n || !before(list.scores[j], list.ids[j], list.scores[i], list.ids[i])) return;
  const float score = list.scores[i];
  const s64 id = list.ids[i];
  const int row = list.rows[i];
  copy(list, i, list, j);
  list.scores[j] = score, list.ids[j] = id, list.rows[j] = row;
}

// Compares i with its mirror image in every block of 2 * half places.
DEVICE void mirror(const Candidates& list, int half) {
  for (int pair = threadIdx.x;; pair += THREADS) {
    const int i = pair & (half - 1), first = 2 * (pair - i);
    if (first >= list.n) break;
    put_in_order(list, first + i, first + 2 * half - 1 - i);
  }
  __syncthreads();
}

// Compares at a distance of `half`.
DEVICE void halve(const Candidates& list, int half) {
  for (int pair = threadIdx.x;; pair += THREADS) {
    const int i = pair & (half - 1), first = 2 * (pair - i);
    if (first >= list.n) break;
    put_in_order(list, first + i, first + i + half);
  }
  __syncthreads();
}

// Sorts every chunk by itself in shared memory; `merging`: only what a merge leaves to do at distances within a chunk.
DEVICE void sort_chunks(const Candidates& list, Space& space, bool merging) {
  for (int first = 0; first < list.n; first += CHUNK) {
    const Candidates chunk{space.scores, space.ids, space.rows, list.n - first < CHUNK ? list.n - first : CHUNK};
    for (int i = threadIdx.x; i < chunk.n; i += THREADS) copy(chunk, i, list, first + i);
    __syncthreads();
    for (int size = merging ? CHUNK : 1; size < (merging ? 2 * CHUNK : chunk.n); size *= 2) {
      if (!merging) mirror(chunk, size);
      for (int half = size / 2; half; half /= 2) halve(chunk, half);
    }
    for (int i = threadIdx.x; i < chunk.n; i += THREADS) copy(list, first + i, chunk, i);
    __syncthreads();
  }
}

KERNEL(256, 4) finish(const Search* search, int round) {
  __shared__ Space space;
  const Search& s = *search;
  const int q = blockIdx.x;
  if (q >= s.anchors) return;
  const s64 from = (s64)q * s.capacity, to = (s64)q * s.r;
  const int n = s.kept[q];
  const Candidates list{s.candidate_scores + from, s.candidate_ids + from, s.candidate_rows + from, n};
  sort_chunks(list, space, false);
  for (int size = CHUNK; size < n; size *= 2) {
    mirror(list, size);
    for (int half = size / 2; half >= CHUNK; half /= 2) halve(list, half);
    sort_chunks(list, space, true);
  }

  const float nothing = __uint_as_float(MINUS_INFINITY);
  for (int i = threadIdx.x; i < s.r; i += THREADS) {
    const int row = i < n ? list.rows[i] : -1;
    s.rows[to + i] = row;
    s.ids[to + i] = i < n ? list.ids[i] : -1;
    s.scores[to + i] = i < n ? list.scores[i] : nothing;
    s.versions[to + i] = i < n ? cell<s64>(s, VERSIONS, row, 0) : 0;
    s.rescored[to + i] = nothing;
  }
  if (threadIdx.x == 0) s.counts[q] = n;
}
