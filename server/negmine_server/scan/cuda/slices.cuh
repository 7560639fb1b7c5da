// The rows of a round's works on their way through shared memory, a few slices ahead of the scan; and the units found.
// A slice is SLICE_ROWS rows of a tile. The blocks of a grid share a round's works evenly, each takes its own in order.
//
// The source that includes this defines: WORDS of a code, THREADS of a block, SLICE_ROWS, PITCH (bytes from row to row in
// shared memory), CHUNK (slots that a block scans at once) and COLUMN (of 4 bytes a row, to lie behind the codes; or -1).
#pragma once
#include "search.cuh"

constexpr int PIECES = (WORDS + 1) / 2;  // of 16 bytes, of a stored code
constexpr int SLICES = TILE_ROWS / SLICE_ROWS;
constexpr int STAGE_BYTES = SLICE_ROWS * (PITCH + (COLUMN >= 0 ? 4 : 0));
constexpr int STAGES = STAGE_BYTES > 24576 ? 3 : 4;  // so that two blocks of wide codes fit a multiprocessor
constexpr int NEVER = 0x7fffffff;  // a threshold that nothing reaches
static_assert(SLICES * SLICE_ROWS == TILE_ROWS && SLICE_ROWS % 64 == 0, "slices fill a tile with groups of 64 rows");
static_assert(PITCH % 16 == 0 && PITCH >= 16 * PIECES, "rows lie on 16 bytes");

struct __align__(16) Slice {
  const u8* rows;     // 0 = the page is closed
  const u8* numbers;  // of COLUMN
  int group;          // the first group of 64 rows
  int first_slot, end_slot;
  bool other_slots;   // than the slice before
  bool none;          // there are no more slices
};

// A ring of STAGES slices. A step of the scan: `next` (slice i + 1 is there, all threads have left slice i - 1), make slice
// i + 1 ready in place, scan slice i. Every thread calls everything.
struct Ring {
  const Search& s;
  const int round;
  u8* const memory;
  Slice* const slices;  // [64] in shared memory: those of 32 steps are found at once, each by a lane

  DEVICE Ring(const Search& s, int round, u8* memory, Slice* slices)
      : s(s), round(round), memory(memory), slices(slices) {
    find(0);
    __syncthreads();
    for (int i = 0; i < STAGES - 1; i++) copy(i);
    wait_copies<STAGES - 2>();
    __syncthreads();
  }

  DEVICE u8* stage(int i) const { return memory + i % STAGES * STAGE_BYTES; }
  DEVICE const Slice& slice(int i) const { return slices[i % 64]; }

  DEVICE void next(int i) const {
    wait_copies<STAGES - 3>();
    __syncthreads();
    copy(i + STAGES - 1);
    if (i % 32 == 16) find(i + 16);  // where those of steps i - 48 ... i - 17 were
  }

  DEVICE void copy(int i) const {
    const Slice& from = slice(i);
    const int thread = unforeseen(threadIdx.x);
    if (from.rows) {
#pragma unroll
      for (int j = 0; j < (SLICE_ROWS * PIECES + THREADS - 1) / THREADS; j++) {
        const int piece = thread + j * THREADS;
        if (SLICE_ROWS * PIECES % THREADS == 0 || piece < SLICE_ROWS * PIECES)
          copy_16(stage(i) + piece / PIECES * PITCH + piece % PIECES * 16, from.rows + piece * 16);
      }
      if (COLUMN >= 0 && thread < SLICE_ROWS / 4)
        copy_16(stage(i) + SLICE_ROWS * PITCH + thread * 16, from.numbers + thread * 16);
    }
    close_copies();
  }

  // The slices of steps i ... i + 31, by the first warp.
  DEVICE void find(int i) const {
    if (threadIdx.x >= 32) return;
    i += threadIdx.x;
    const int begin = s.rounds[round].first;
    const s64 count = s.rounds[round].last - begin;
    const int first = begin + (int)(count * blockIdx.x / gridDim.x), work = first + i / SLICES;
    const int first_slot = blockIdx.y * CHUNK;
    Slice found = {0, 0, 0, first_slot, min(first_slot + CHUNK, s.slots), i == 0, true};
    if (work < begin + (int)(count * (blockIdx.x + 1) / gridDim.x)) {
      const int tile = tile_of(s, work);
      const s64 row = (s64)tile * TILE_ROWS + i % SLICES * SLICE_ROWS;
      const u8* const codes = tile_codes(s, tile);
      if (codes) found.rows = codes + i % SLICES * SLICE_ROWS * (16 * PIECES);
      if (COLUMN >= 0) found.numbers = (const u8*)column_at(s, COLUMN, row) + place_of(s, row) * 4;
      found.group = (int)(row / 64), found.none = false;
      if (s.works) {
        const Work now = s.works[work], before = s.works[work > first ? work - 1 : first];
        found.first_slot = now.first_slot, found.end_slot = now.first_slot + now.slots;
        found.other_slots |= now.first_slot != before.first_slot || now.slots != before.slots;
      }
    }
    slices[i % 64] = found;
  }
};

// Appends a unit for each lane with a hit. All lanes of a warp call it.
DEVICE void append(const Search& s, int round, bool hit, int anchor, int place) {
  const u32 hits = __ballot_sync(~0u, hit), lane = threadIdx.x % 32;
  if (!hits) return;
  u32 at = 0;
  if (lane == 0) at = atomicAdd(&s.unit_counts[round], (u32)__popc(hits));
  at = __shfl_sync(~0u, at, 0) + __popc(hits & ((1u << lane) - 1));
  if (hit && at < (u32)s.units_max) s.units[at] = {(u32)anchor, (u32)place};
}
