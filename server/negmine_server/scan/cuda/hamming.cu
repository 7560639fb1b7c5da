// scan_hamming: symmetric scans on 1-bit tensor cores. With h the Hamming distance, h = popc(q) + popc(x) - 2 popc(q & x):
// a row may enter iff v = popc(q & x) - floor(popc(x) / 2) reaches ceil((popc(q) - limit) / 2). The instruction adds the
// second term as its C operand, so one instruction a 16 anchors x 8 rows x 256 bits and two maxima are the whole scan.
//
// A warp holds QF fragments of 16 anchors in registers; WARPS_ANCHORS warps have different anchors, WARPS_ROWS of each
// different groups of 64 rows. A lane sees of a group the rows 8i + 2c + {0, 1}: a unit of 16 rows for each of its anchors.
//
// Macros: WORDS, QF, WARPS_ANCHORS, WARPS_ROWS, SLICE_ROWS, BLOCKS (of a multiprocessor). `hamming.py` chooses them.
#include "fragments.cuh"
#define THREADS (32 * WARPS_ANCHORS * WARPS_ROWS)
#define CHUNK (16 * QF * WARPS_ANCHORS)
#define COLUMN -1
// Four rows' 32 bytes lie in different banks: an odd number of 32 bytes from row to row.
#define PITCH (WORDS <= 2 ? 16 : ((WORDS + 3) / 4 | 1) * 32)
#include "slices.cuh"

constexpr int WIDE = PIECES / 2, NARROW = PIECES % 2;  // blocks of 256 and of 128 bits
constexpr int SLICE_GROUPS = SLICE_ROWS / 64, OCTETS = SLICE_ROWS / 8;
constexpr int AT_ONCE = QF >= 4 ? 1 : 2;  // octets of rows, so that instructions enough are independent
constexpr int HALVES_AT_ONCE = WIDE <= 1 ? 2 : 1;
static_assert(SLICE_GROUPS % WARPS_ROWS == 0 && OCTETS % (THREADS / 32) == 0, "warps share a slice evenly");

struct Bits { u32 wide[WIDE + 1][2], narrow[1]; };     // a lane's part of eight rows
struct Anchors { u32 wide[WIDE + 1][4], narrow[2]; };  // a lane's part of a fragment

DEVICE Bits read_octet(const u8* stage, int octet) {
  const int lane = threadIdx.x % 32;
  const u8* const row = stage + (octet * 8 + lane / 4) * PITCH;
  Bits bits;
#pragma unroll
  for (int k = 0; k < WIDE; k++) {
    const uint2 both = *(const uint2*)(row + k * 32 + lane % 4 * 8);
    bits.wide[k][0] = both.x, bits.wide[k][1] = both.y;
  }
  if (NARROW) bits.narrow[0] = *(const u32*)(row + WIDE * 32 + lane % 4 * 4);
  return bits;
}

// d = popc(anchors & bits) + c for 16 anchors and 8 rows.
DEVICE void count(int (&d)[4], const Anchors& anchors, const Bits& bits, const int (&c)[4]) {
  if (!WIDE) return and_popc_128(d, anchors.narrow, bits.narrow, c);
  and_popc_256(d, anchors.wide[0], bits.wide[0], c);
#pragma unroll
  for (int k = 1; k < WIDE; k++) {
    const int before[4] = {d[0], d[1], d[2], d[3]};
    and_popc_256(d, anchors.wide[k], bits.wide[k], before);
  }
  if (NARROW) {
    const int before[4] = {d[0], d[1], d[2], d[3]};
    and_popc_128(d, anchors.narrow, bits.narrow, before);
  }
}

// Of every row -floor(popc / 2), by an anchor of ones: halves[octet][c] is the C operand of lanes 4g + c.
DEVICE void find_halves(const u8* stage, int4* halves) {
  Anchors ones;
#pragma unroll
  for (int k = 0; k <= WIDE; k++)
#pragma unroll
    for (int i = 0; i < 4; i++) ones.wide[k][i] = ~0u;
  ones.narrow[0] = ones.narrow[1] = ~0u;
  const int zero[4] = {0, 0, 0, 0};
#pragma unroll HALVES_AT_ONCE
  for (int i = 0; i < OCTETS; i += THREADS / 32) {
    const int octet = i + threadIdx.x / 32;
    int d[4];
    count(d, ones, read_octet(stage, octet), zero);
    const int first = -(d[0] >> 1), second = -(d[1] >> 1), lane = threadIdx.x % 32;
    if (lane < 4) halves[octet * 4 + lane] = {first, second, first, second};
  }
}

// A warp's anchors from slot `own` on. Their thresholds are asked for once a group, and leave registers to the products.
struct __align__(16) Thresholds { int of[8][2 * QF]; };  // [g][2f + i]: of anchor 16f + g + 8i
struct Held {
  Anchors anchors[QF];

  DEVICE void load(const Search& s, int own, int end, Thresholds& thresholds) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int f = 0; f < QF; f++) {
      const int slot = own + f * 16;
      const u32* const from = s.fragments + (s64)(slot < end ? slot / 16 : 0) * (64 * PIECES);
#pragma unroll
      for (int k = 0; k < WIDE; k++) {
        const uint4 four = ((const uint4*)from)[k * 32 + lane];
        anchors[f].wide[k][0] = four.x, anchors[f].wide[k][1] = four.y;
        anchors[f].wide[k][2] = four.z, anchors[f].wide[k][3] = four.w;
      }
      if (NARROW) {
        const uint2 two = ((const uint2*)(from + WIDE * 128))[lane];
        anchors[f].narrow[0] = two.x, anchors[f].narrow[1] = two.y;
      }
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int place = slot + lane / 4 + 8 * i, anchor = place < end ? s.slot_anchors[place] : -1;
        const int limit = anchor < 0 ? -1 : s.limits[anchor];
        thresholds.of[lane / 4][2 * f + i] = limit < 0 ? NEVER : (s.ones[anchor] - limit + 1) >> 1;
      }
    }
    __syncwarp();
  }
};

// The best values of a group of 64 rows for a warp's anchors.
DEVICE void scan_group(int (&best)[QF][2], const Held& held, const u8* stage, const int4* halves, int group) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int octet = 0; octet < 8; octet += AT_ONCE) {
    int d[AT_ONCE][QF][4];
#pragma unroll
    for (int o = 0; o < AT_ONCE; o++) {
      const Bits bits = read_octet(stage, group * 8 + octet + o);
      const int4 half = halves[(group * 8 + octet + o) * 4 + lane % 4];
      const int c[4] = {half.x, half.y, half.z, half.w};
#pragma unroll
      for (int f = 0; f < QF; f++) count(d[o][f], held.anchors[f], bits, c);
    }
#pragma unroll
    for (int o = 0; o < AT_ONCE; o++)
#pragma unroll
      for (int f = 0; f < QF; f++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const int x = d[o][f][2 * i], y = d[o][f][2 * i + 1];
          best[f][i] = octet + o ? __vimax3_s32(best[f][i], x, y) : max(x, y);
        }
  }
}

// The units of a group for anchors from slot `own` on.
DEVICE void append_units(const Search& s, int round, const int (&best)[QF][2], const Thresholds& thresholds, int own,
                         int group) {
  const int lane = threadIdx.x % 32;
  bool any = false;
#pragma unroll
  for (int j = 0; j < 2 * QF; j++) any |= best[j / 2][j % 2] >= thresholds.of[lane / 4][j];
  if (!__any_sync(~0u, any)) return;
  u32 hits = 0;  // bit by bit, so that what is rare is short
#pragma unroll
  for (int j = 0; j < 2 * QF; j++) hits |= (u32)(best[j / 2][j % 2] >= thresholds.of[lane / 4][j]) << j;
#pragma unroll 1
  for (int j = 0; j < 2 * QF; j++) {
    const bool hit = hits >> j & 1;
    append(s, round, hit, hit ? s.slot_anchors[own + j * 8 + lane / 4] : 0, group * 4 + lane % 4);
  }
}

KERNEL(THREADS, BLOCKS) scan_hamming(const Search* search, int round) {
  DYNAMIC_SHARED(memory);
  __shared__ Slice slices[64];
  __shared__ int4 halves[2][OCTETS * 4];
  __shared__ Thresholds thresholds[THREADS / 32];
  const Ring ring(*search, round, memory, slices);
  Held held;
  if (ring.slice(0).rows) find_halves(ring.stage(0), halves[0]);
  for (int i = 0; !ring.slice(i).none; i++) {
    ring.next(i);
    if (ring.slice(i + 1).rows) find_halves(ring.stage(i + 1), halves[(i + 1) % 2]);
    const Slice& slice = ring.slice(i);
    const int own = slice.first_slot + threadIdx.x / 32 % WARPS_ANCHORS * 16 * QF;
    if (slice.other_slots) held.load(*search, own, slice.end_slot, thresholds[threadIdx.x / 32]);
    if (!slice.rows || own >= slice.end_slot) continue;
#pragma unroll 1
    for (int first = 0; first < SLICE_GROUPS; first += WARPS_ROWS) {
      const int group = first + threadIdx.x / 32 / WARPS_ANCHORS;
      int best[QF][2];
      scan_group(best, held, ring.stage(i), halves[i % 2], group);
      append_units(*search, round, best, thresholds[threadIdx.x / 32], own, slice.group + group);
    }
  }
}
