// Scores stored vectors against all anchors and offers the rows straight away: an exhaustive scan that needs no units.
//
// A block takes 32 rows and 32 anchors at a time, a half warp 8 of each, whose 64 sums stay in its registers while
// stretches of the vectors pass through shared memory. The order of float32 operations is fixed, so there are no fused or
// tensor instructions.
#include "vectors.cuh"

constexpr int THREADS = 256;
constexpr int SIDE = 32;                    // rows, and anchors, of a block at a time
constexpr int TEAM_SIDE = 8;                // of a half warp
constexpr int SUMS = TEAM_SIDE * TEAM_SIDE;
constexpr int DEPTH = 128;                  // elements of a stretch
constexpr int PITCH = DEPTH + DOT_LANES;    // the half warps' anchors differ by half of all banks
constexpr int PARTS = TILE_ROWS / SIDE;

struct Space {
  float rows[SIDE][PITCH], anchors[SIDE][PITCH];
  int queries[SIDE];
};

// Adds lanes at distance WIDTH, halving the sums that each lane goes on with.
template <int WIDTH>
DEVICE void fold(float (&sums)[SUMS]) {
  constexpr int HALF = SUMS / DOT_LANES * WIDTH;
  const bool upper = threadIdx.x & WIDTH;
#pragma unroll
  for (int i = 0; i < HALF; ++i) {
    const float sent = upper ? sums[i] : sums[i + HALF], mine = upper ? sums[i + HALF] : sums[i];
    sums[i] = __fadd_rn(mine, __shfl_xor_sync(WARP, sent, WIDTH));
  }
}

// Stretch [start, start + DEPTH) of the block's rows and anchors; zeros where there is nothing.
DEVICE void load(const Search& s, Space& space, const u8* rows_at, int start) {
  const int size = element_bytes(s.store);
#pragma unroll 4
  for (int k = threadIdx.x; k < SIDE * DEPTH; k += THREADS) {
    const int line = k / DEPTH, column = k % DEPTH, q = space.queries[line];
    const bool inside = start + column < s.dimension;
    const s64 at = (s64)line * s.dimension + start + column;
    space.rows[line][column] = inside ? element(rows_at + at * size, s.store, 0) : 0.0f;
    space.anchors[line][column] = inside && q >= 0 ? s.vectors[(s64)q * s.dimension + start + column] : 0.0f;
  }
}

// Adds a stretch's products. In lane's 64 sums [row][anchor], anchors of a warp alternate between its halves.
DEVICE void multiply(const Space& space, int first_row, int first_anchor, float (&sums)[SUMS]) {
#pragma unroll 1
  for (int step = threadIdx.x % DOT_LANES; step < DEPTH; step += DOT_LANES) {
    float rows[TEAM_SIDE];
#pragma unroll
    for (int r = 0; r < TEAM_SIDE; ++r) rows[r] = space.rows[first_row + r][step];
#pragma unroll
    for (int a = 0; a < TEAM_SIDE; ++a) {
      const float anchor = space.anchors[first_anchor + 2 * a][step];
#pragma unroll
      for (int r = 0; r < TEAM_SIDE; ++r)
        sums[r * TEAM_SIDE + a] = __fadd_rn(sums[r * TEAM_SIDE + a], __fmul_rn(rows[r], anchor));
    }
  }
}

DEVICE void take(const Search& s, int round, int q, s64 row, float score) {
  s64 id;
  const int verdict = judge(s, q, row, score, id);
  if (verdict == ABOVE) atomicAdd(&s.above_now[q], 1ull);
  if (verdict == CANDIDATE) put(s, round, q, atomicAdd(&s.fills[q], 1), score, id, row);
}

// Rows [first, first + SIDE) against the anchors in `space`.
DEVICE void scan_block(const Search& s, int round, Space& space, s64 first, const u8* rows_at) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % DOT_LANES;
  const int first_row = warp % 4 * TEAM_SIDE, first_anchor = warp / 4 * 2 * TEAM_SIDE + threadIdx.x % 32 / DOT_LANES;
  float sums[SUMS];
#pragma unroll
  for (int i = 0; i < SUMS; ++i) sums[i] = 0.0f;
  for (int start = 0; start < s.dimension; start += DEPTH) {
    load(s, space, rows_at, start);
    __syncthreads();
    multiply(space, first_row, first_anchor, sums);
    __syncthreads();
  }
  fold<8>(sums);
  fold<4>(sums);
  fold<2>(sums);
  fold<1>(sums);
  // A lane is left with four anchors of one row: sums 4 * lane and on.
  const s64 row = first + first_row + lane / 2;
#pragma unroll
  for (int i = 0; i < SUMS / DOT_LANES; ++i) {
    const int q = space.queries[first_anchor + 2 * (lane % 2 * 4 + i)];
    if (q >= 0) take(s, round, q, row, scaled(s, row, sums[i]));
  }
}

// blockIdx.x goes over the rows of the round, blockIdx.y over their anchors.
KERNEL(256, 2) scan_float(const Search* search, int round) {
  __shared__ Space space;
  const Search& s = *search;
  const Round works = s.rounds[round];
  for (int item = blockIdx.x; item < (works.last - works.first) * PARTS; item += gridDim.x) {
    const int work = works.first + item / PARTS;
    const s64 first = (s64)tile_of(s, work) * TILE_ROWS + item % PARTS * SIDE;
    const u8* rows_at = vector_at(s, first);
    if (!rows_at) continue;
    const int first_slot = s.works ? s.works[work].first_slot : 0, slots = s.works ? s.works[work].slots : s.slots;
    for (int start = blockIdx.y * SIDE; start < slots; start += gridDim.y * SIDE) {
      __syncthreads();
      if (threadIdx.x < SIDE) {
        const int slot = start + threadIdx.x;
        space.queries[threadIdx.x] = slot < slots ? s.slot_anchors[first_slot + slot] : -1;
      }
      __syncthreads();
      scan_block(s, round, space, first, rows_at);
    }
  }
}
