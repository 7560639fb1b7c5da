// scan_popc: symmetric scans by XOR and POPC, where there are no 1-bit tensor cores. Exact: a unit is told of iff its
// nearest row is within the limit.
//
// A thread holds ANCHORS anchors in registers and goes through units of 16 rows; LANES threads side by side have different
// anchors and read the same row, which costs shared memory one read for all of them.
//
// What it costs at least, on paper: a pair of 256 bits is 4 POPC, of which a multiprocessor does 16 a cycle, and about 14
// instructions of logic and sums at 64 a cycle, so POPC limits it by a little. 1024 anchors against 1e8 rows are 4.1e11
// POPC: 110 ms on an H200 (132 multiprocessors at 1.755 GHz), with 8 POPC a pair it would be 221 ms.
//
// Macros: WORDS, ANCHORS, LANES, THREADS, SLICE_ROWS, BLOCKS (of a multiprocessor). `popc.py` chooses them.
#define CHUNK (ANCHORS * LANES)
#define COLUMN -1
#define PITCH ((WORDS + 1) / 2 * 16)
#include "carry_save.cuh"
#include "slices.cuh"

constexpr int HALF_WORDS = 4 * PIECES;  // of 32 bits, with the padding
constexpr int UNITS = SLICE_ROWS / 16;
static_assert(UNITS % (THREADS / LANES) == 0, "threads share a slice's units evenly");

// Anchors of the slots own, own + LANES, …
struct Held {
  u32 codes[ANCHORS][HALF_WORDS];
  int limits[ANCHORS];
  bool any;

  DEVICE void load(const Search& s, int own, int end) {
    any = false;
#pragma unroll
    for (int a = 0; a < ANCHORS; a++) {
      const int slot = own + a * LANES, anchor = slot < end ? s.slot_anchors[slot] : -1;
      const uint4* const from = (const uint4*)(s.codes + (s64)max(anchor, 0) * s.row_bytes);
#pragma unroll
      for (int k = 0; k < PIECES; k++) {
        const uint4 four = from[k];
        codes[a][4 * k] = four.x, codes[a][4 * k + 1] = four.y, codes[a][4 * k + 2] = four.z, codes[a][4 * k + 3] = four.w;
      }
      limits[a] = anchor < 0 ? -1 : s.limits[anchor];
      any |= limits[a] >= 0;
    }
    any = __any_sync(~0u, any);
  }
};

// The distances of a row that are less than the nearest before.
DEVICE void measure(int (&nearest)[ANCHORS], const Held& held, const u8* row) {
  u32 x[HALF_WORDS];
#pragma unroll
  for (int k = 0; k < PIECES; k++) {
    const uint4 four = ((const uint4*)row)[k];
    x[4 * k] = four.x, x[4 * k + 1] = four.y, x[4 * k + 2] = four.z, x[4 * k + 3] = four.w;
  }
#pragma unroll
  for (int a = 0; a < ANCHORS; a++) {
    Count count = {0, 0};
#pragma unroll
    for (int k = 0; k < HALF_WORDS; k += 8) {
      const Count more = k + 4 < HALF_WORDS ? count_words<false, 8>(held.codes[a] + k, x + k)
                                            : count_words<false, 4>(held.codes[a] + k, x + k);
      count = {count.part + count.rest + more.part, more.rest};
    }
    nearest[a] = __viaddmin_s32(count.part, count.rest, nearest[a]);
  }
}

KERNEL(THREADS, BLOCKS) scan_popc(const Search* search, int round) {
  DYNAMIC_SHARED(memory);
  __shared__ Slice slices[64];
  const Ring ring(*search, round, memory, slices);
  Held held;
  for (int i = 0; !ring.slice(i).none; i++) {
    ring.next(i);
    const Slice& slice = ring.slice(i);
    const int own = slice.first_slot + threadIdx.x % LANES;
    if (slice.other_slots) held.load(*search, own, slice.end_slot);
    if (!slice.rows || !held.any) continue;
#pragma unroll 1
    for (int unit = threadIdx.x / LANES; unit < UNITS; unit += THREADS / LANES) {
      const u8* const rows = ring.stage(i) + (unit / 4 * 64 + unit % 4 * 2) * PITCH;
      int nearest[ANCHORS];
      bool hit = false;
#pragma unroll
      for (int a = 0; a < ANCHORS; a++) nearest[a] = NEVER;
#pragma unroll 1
      for (int row = 0; row < 16; row++) measure(nearest, held, rows + (row / 2 * 8 + row % 2) * PITCH);
#pragma unroll
      for (int a = 0; a < ANCHORS; a++) hit |= nearest[a] <= held.limits[a];
      if (!__any_sync(~0u, hit)) continue;
#pragma unroll
      for (int a = 0; a < ANCHORS; a++) {
        const bool enters = nearest[a] <= held.limits[a];
        append(*search, round, enters, enters ? search->slot_anchors[own + a * LANES] : 0, slice.group * 4 + unit);
      }
    }
  }
}
