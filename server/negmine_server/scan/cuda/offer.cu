// Scores the rows of a round's units exactly, and takes those that enter into their anchors' candidates. Sixteen lanes
// a unit, so that what they find costs one atomic operation; most rows fall at the bar, before anything but their code
// is read.
#include "rules.cuh"

constexpr u32 UNIT_LANES = 16;

DEVICE int row_of(u32 place, int unit_rows, u32 lane, int turn) {
  if (unit_rows == 16) return 64 * (int)(place >> 2) + 8 * (lane >> 1) + 2 * (place & 3) + (lane & 1);
  return 64 * (int)place + UNIT_LANES * turn + lane;
}

// Offers each lane's row (-1 = none) to the anchor that its half of the warp shares. All lanes come along.
DEVICE void offer_rows(const Search& s, int round, int q, int row) {
  float score = 0.0f;
  s64 id = 0;
  const int verdict = row >= 0 && score_code(s, q, row, score) ? judge(s, q, row, score, id) : OUT;
  if (!__ballot_sync(WARP, verdict != OUT)) return;

  const u32 lane = threadIdx.x & 31, half = 0xFFFFu << (lane & 16);
  const u32 above = __ballot_sync(WARP, verdict == ABOVE) & half;
  if (above && (int)lane == __ffs(above) - 1) atomicAdd(&s.above_now[q], (u64)__popc(above));
  const u32 found = __ballot_sync(WARP, verdict == CANDIDATE) & half;
  const int leader = found ? __ffs(found) - 1 : 0;
  int place = 0;
  if (found && (int)lane == leader) place = atomicAdd(&s.fills[q], __popc(found));
  place = __shfl_sync(WARP, place, leader);
  if (verdict == CANDIDATE) put(s, round, q, place + __popc(found & ((1u << lane) - 1)), score, id, row);
}

KERNEL(256, 4) offer(const Search* search, int round) {
  const Search& s = *search;
  const u32 units = s.unit_counts[round], thread = blockIdx.x * blockDim.x + threadIdx.x;
  if (units > (u32)s.units_max) {
    if (thread == 0) atomicOr(&s.overflows[round], UNITS_OVERFLOWED);
    return;
  }
  const u32 lane = threadIdx.x % UNIT_LANES, of_warp = threadIdx.x % 32 / UNIT_LANES;
  const u32 step = gridDim.x * blockDim.x / UNIT_LANES;
  const int unit_rows = s.unit_rows, turns = unit_rows / UNIT_LANES;
  for (u32 first = thread / 32 * 2; first < units; first += step) {
    const bool there = first + of_warp < units;
    const Unit unit = s.units[there ? first + of_warp : first];
    for (int turn = 0; turn < turns; ++turn)
      offer_rows(s, round, (int)unit.anchor, there ? row_of(unit.place, unit_rows, lane, turn) : -1);
  }
}
