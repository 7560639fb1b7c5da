// Scores stored vectors against all anchors and offers the rows straight away: an exhaustive scan that needs no units.
//
// A block takes 32 rows and 32 anchors at a time, a half warp 8 of each, whose 64 sums stay in its registers while
// stretches of the vectors pass through shared memory. The order of float32 operations is fixed, so there are no fused
// or tensor instructions.
#include "vectors.cuh"

constexpr int THREADS = 256;
constexpr int SIDE = 32;                  // rows, and anchors, of a block at a time
constexpr int TEAM_SIDE = 8;              // of a half warp
constexpr int SUMS = TEAM_SIDE * TEAM_SIDE;
constexpr int DEPTH = 128;                // elements of a stretch
constexpr int PITCH = DEPTH + DOT_LANES;  // the half warps' anchors differ by half of all banks
constexpr int LINES_AT_ONCE = THREADS / DEPTH;  // loaded by all threads
constexpr int PARTS = TILE_ROWS / SIDE;

struct Space {
  float rows[SIDE][PITCH], anchors[SIDE][PITCH];
  const float* vectors[SIDE];  // of the anchors
  int queries[SIDE];           // -1 = none; what such a one's vector brings is not taken
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

// The block's rows at one column of a stretch, from the first one's element `from` on. A thread keeps to its column.
template <class Stored>
DEVICE void load_rows(const Search& s, Space& space, const u8* from, bool inside) {
  const Stored* const values = (const Stored*)from + threadIdx.x / DEPTH * s.dimension;
  const int step = LINES_AT_ONCE * s.dimension;
#pragma unroll 8
  for (int k = 0; k < SIDE / LINES_AT_ONCE; ++k) {
    const float value = value_of(values[k * step]);
    space.rows[threadIdx.x / DEPTH + k * LINES_AT_ONCE][threadIdx.x % DEPTH] = inside ? value : 0.0f;
  }
}

// Stretch [start, start + DEPTH) of the block's rows and anchors, zeros beyond the last element. These are put in place
// of something that is there rather than not loaded, so that loads need no branches and run side by side.
DEVICE void load(const Search& s, Space& space, const u8* rows_at, int start) {
  const bool inside = start + (int)threadIdx.x % DEPTH < s.dimension;
  const int column = inside ? start + threadIdx.x % DEPTH : 0;
  const u8* from = rows_at + column * element_bytes(s.store);
  if (s.store == INT8) load_rows<s8>(s, space, from, inside);
  else if (s.store == FLOAT16) load_rows<u16>(s, space, from, inside);
  else load_rows<float>(s, space, from, inside);
#pragma unroll 8
  for (int k = 0; k < SIDE / LINES_AT_ONCE; ++k) {
    const int line = threadIdx.x / DEPTH + k * LINES_AT_ONCE;
    const float value = space.vectors[line][column];
    space.anchors[line][threadIdx.x % DEPTH] = inside ? value : 0.0f;
  }
}

// Adds the products of a stretch's first `depth` elements to a lane's sums [row][anchor]; a warp's anchors alternate
// between its halves.
DEVICE void multiply(const Space& space, int first_row, int first_anchor, int depth, float (&sums)[SUMS]) {
#pragma unroll 1
  for (int step = threadIdx.x % DOT_LANES; step < depth; step += DOT_LANES) {
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
    const int left = s.dimension - start, lanes = (left + DOT_LANES - 1) / DOT_LANES * DOT_LANES;
    multiply(space, first_row, first_anchor, min(lanes, DEPTH), sums);
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
        const int slot = start + threadIdx.x, q = slot < slots ? s.slot_anchors[first_slot + slot] : -1;
        space.queries[threadIdx.x] = q;
        space.vectors[threadIdx.x] = s.vectors + (s64)max(q, 0) * s.dimension;
      }
      __syncthreads();
      scan_block(s, round, space, first, rows_at);
    }
  }
}
