// After `finish`: exact scores of the results from stored vectors. Sixteen lanes a result.
//
// Vectors may lie in host memory that the device reads over a bus: every line of sixteen bytes is asked for once and
// passes through shared memory, from where each lane takes the elements it has to sum.
#include "vectors.cuh"

constexpr int THREADS = 256, TEAMS = THREADS / DOT_LANES;
constexpr int LINE = 16, CHUNK = 1024;  // bytes; a chunk holds a multiple of DOT_LANES elements of any store

// Asks for bytes [at, at + bytes), as whole lines: pages are made of whole lines, so nothing beyond them is read.
DEVICE void ask_for(u8* to, const u8* at, int bytes) {
  const int before = (int)((u64)at % LINE), lines = (before + bytes + LINE - 1) / LINE;
  for (int k = threadIdx.x % DOT_LANES; k < lines; k += DOT_LANES) copy_16(to + k * LINE, at - before + k * LINE);
}

// Adds a lane's products of a chunk.
template <class Stored>
DEVICE float add_products(float sum, const u8* held, const float* anchor, int elements) {
#pragma unroll 4
  for (int i = threadIdx.x % DOT_LANES; i < elements; i += DOT_LANES)
    sum = __fadd_rn(sum, __fmul_rn(value_of(((const Stored*)held)[i]), anchor[i]));
  return sum;
}

KERNEL(256, 4) rescore(const Search* search, int round) {
  __shared__ __align__(16) u8 space[TEAMS][2][CHUNK + LINE];
  const Search& s = *search;
  const int team = threadIdx.x / DOT_LANES, lane = threadIdx.x % DOT_LANES;
  const int store = s.store, size = element_bytes(store), bytes = s.dimension * size;
  const int chunks = (bytes + CHUNK - 1) / CHUNK;
  const s64 pairs = (s64)s.anchors * s.r;
  for (s64 first = (s64)blockIdx.x * TEAMS; first < pairs; first += (s64)gridDim.x * TEAMS) {
    const s64 pair = first + team;
    const int row = pair < pairs ? s.rows[pair] : -1;
    if (!__ballot_sync(WARP, row >= 0)) continue;  // `finish` has written what missing results score
    const u8* at = row >= 0 ? vector_at(s, row) : (const u8*)0;
    const float* anchor = s.vectors + (row >= 0 ? pair / s.r : 0) * s.dimension;
    float sum = 0.0f;
    if (at) ask_for(space[team][0], at, bytes < CHUNK ? bytes : CHUNK);
    close_copies();
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const int start = chunk * CHUNK, next = start + CHUNK, left = bytes - next;
      if (at && left > 0) ask_for(space[team][(chunk + 1) % 2], at + next, left < CHUNK ? left : CHUNK);
      close_copies();
      wait_copies<1>();
      __syncwarp();
      const u8* held = space[team][chunk % 2] + (u64)at % LINE;
      const float* against = anchor + start / size;
      const int elements = !at ? 0 : (left < 0 ? bytes - start : CHUNK) / size;
      if (store == INT8) sum = add_products<s8>(sum, held, against, elements);
      else if (store == FLOAT16) sum = add_products<u16>(sum, held, against, elements);
      else sum = add_products<float>(sum, held, against, elements);
      __syncwarp();
    }
#pragma unroll
    for (int width = DOT_LANES / 2; width; width /= 2) sum = __fadd_rn(sum, __shfl_xor_sync(WARP, sum, width));
    if (row >= 0 && lane == 0) s.rescored[pair] = at ? scaled(s, row, sum) : __uint_as_float(0x7FC00000u);  // NaN
  }
}
