// scan_planes: asymmetric scans by bit planes of the anchors' values, where there are no int8 tensor cores. With plane p of
// a value's two's complement, Σ value · bit = Σ 2^p popc(plane_p & x), the last plane's weight negative, and the dot with
// the row's signs is twice that less the values' sum. Exact, and dot · correction is rounded as `offer` does: a unit is
// told of iff one of its rows reaches the anchor's low, or its product is not a number.
//
// A thread has one anchor, and LANES threads side by side read the same row. It goes through a unit's 16 rows, ROWS of them
// at once, in blocks of BLOCK_WORDS words; the planes of a block lie in registers.
//
// On paper a plane costs what a pair of codes does in popc.cu: for 1024 anchors, 1e8 rows and 256 bits 110 ms each on an
// H200, 442 ms for 4 planes and 884 ms for 8.
//
// Macros: WORDS, PLANES (8, or fewer where values are that small), LANES, THREADS, SLICE_ROWS, BLOCKS. `planes.py` chooses
// them.
#define CHUNK LANES
#define COLUMN CORRECTIONS
#define PITCH ((WORDS + 1) / 2 * 16)
#include "carry_save.cuh"
#include "slices.cuh"

constexpr int HALF_WORDS = 2 * WORDS, BLOCK_WORDS = WORDS <= 2 ? 4 : 8;  // of 32 bits
constexpr int BLOCKS_OF_ROW = (HALF_WORDS + BLOCK_WORDS - 1) / BLOCK_WORDS, ROWS = BLOCKS_OF_ROW == 1 ? 1 : 4;
constexpr int UNITS = SLICE_ROWS / 16;
static_assert(UNITS % (THREADS / LANES) == 0, "threads share a slice's units evenly");

// After `prepare`: planes[p][w][slot], 32 bits of word w of plane p of the slot's anchor. Any grid.
KERNEL(256, 1) prepare_planes(const Search* search, int) {
  const Search& s = *search;
  u32* const planes = (u32*)s.planes;
  for (s64 i = blockIdx.x * 256ll + threadIdx.x; i < (s64)HALF_WORDS * s.slots; i += gridDim.x * 256ll) {
    const int word = (int)(i / s.slots), anchor = s.slot_anchors[i % s.slots];
    u32 bits[PLANES] = {};
    for (int b = 0; b < 32 && anchor >= 0; b++) {
      const int value = s.values[(s64)anchor * 64 * WORDS + word * 32 + b];
#pragma unroll
      for (int p = 0; p < PLANES; p++) bits[p] |= (u32)(value >> p & 1) << b;
    }
#pragma unroll
    for (int p = 0; p < PLANES; p++) planes[(s64)p * HALF_WORDS * s.slots + i] = bits[p];
  }
}

struct Planes { u32 words[PLANES][BLOCK_WORDS]; };

// Of block k; words beyond the code are zero, whatever the row has there.
DEVICE void load_planes(Planes& planes, const Search& s, int slot, int k) {
#pragma unroll
  for (int p = 0; p < PLANES; p++)
#pragma unroll
    for (int w = 0; w < BLOCK_WORDS; w++) {
      const int word = k * BLOCK_WORDS + w;
      planes.words[p][w] = word < HALF_WORDS ? ((const u32*)s.planes)[((s64)p * HALF_WORDS + word) * s.slots + slot] : 0;
    }
}

// Σ value · bit over a block of a row.
DEVICE int sum_block(const Planes& planes, const u8* row, int k) {
  u32 x[BLOCK_WORDS];
#pragma unroll
  for (int i = 0; i < BLOCK_WORDS / 4; i++) {
    const int piece = k * BLOCK_WORDS / 4 + i;
    const uint4 four = ((const uint4*)row)[min(piece, PIECES - 1)];
    x[4 * i] = four.x, x[4 * i + 1] = four.y, x[4 * i + 2] = four.z, x[4 * i + 3] = four.w;
  }
  int sum = 0;
#pragma unroll
  for (int p = PLANES - 1; p >= 0; p--) {
    const Count count = count_words<true, BLOCK_WORDS>(planes.words[p], x);
    sum = p == PLANES - 1 ? -count.part - count.rest : 2 * sum + count.part + count.rest;
  }
  return sum;
}

KERNEL(THREADS, BLOCKS) scan_planes(const Search* search, int round) {
  DYNAMIC_SHARED(memory);
  __shared__ Slice slices[64];
  const Search& s = *search;
  const Ring ring(s, round, memory, slices);
  Planes planes;
  int slot = 0, anchor = -1, total = 0;
  float low = 0;
  for (int i = 0; !ring.slice(i).none; i++) {
    ring.next(i);
    const Slice& slice = ring.slice(i);
    if (slice.other_slots) {
      slot = slice.first_slot + threadIdx.x % LANES;
      anchor = slot < slice.end_slot ? s.slot_anchors[slot] : -1;
      if (anchor < 0) slot = 0;
      if (anchor >= 0) total = s.totals[anchor], low = s.lows[anchor];
      if (BLOCKS_OF_ROW == 1) load_planes(planes, s, slot, 0);
    }
    if (!slice.rows || !__any_sync(~0u, anchor >= 0)) continue;
#pragma unroll 1
    for (int unit = threadIdx.x / LANES; unit < UNITS; unit += THREADS / LANES) {
      bool hit = false;
#pragma unroll 1
      for (int first = 0; first < 16; first += ROWS) {
        const u8* rows[ROWS];
        int sums[ROWS];
        float corrections[ROWS];
#pragma unroll
        for (int j = 0; j < ROWS; j++) {
          const int row = unit / 4 * 64 + unit % 4 * 2 + (first + j) / 2 * 8 + (first + j) % 2;
          rows[j] = ring.stage(i) + row * PITCH, sums[j] = 0;
          corrections[j] = ((const float*)(ring.stage(i) + SLICE_ROWS * PITCH))[row];
        }
#pragma unroll 1
        for (int k = 0; k < BLOCKS_OF_ROW; k++) {
          if (BLOCKS_OF_ROW > 1) load_planes(planes, s, slot, k);
#pragma unroll
          for (int j = 0; j < ROWS; j++) sums[j] += sum_block(planes, rows[j], k);
        }
#pragma unroll
        for (int j = 0; j < ROWS; j++) hit |= !(__fmul_rn((float)(2 * sums[j] - total), corrections[j]) < low);
      }
      hit = hit && anchor >= 0;
      if (__any_sync(~0u, hit)) append(s, round, hit, anchor, slice.group * 4 + unit);
    }
  }
}
