// What makes a row a candidate: its score, whether a search sees it, the filters, and the order of results. Every
// float32 operation is rounded by itself, in the order of `scan/reference.py`, so answers agree bit for bit.
#pragma once
#include "search.cuh"

constexpr s64 ID_LAST = 0x7FFFFFFFFFFFFFFFll;
constexpr s64 STEP_MAX = (1ll << 40) - 1;  // a version is generation << 40 | step
constexpr u32 WARP = 0xFFFFFFFFu;
constexpr u32 MINUS_INFINITY = 0xFF800000u;

enum Verdict { OUT, ABOVE, CANDIDATE };

struct alignas(16) Sixteen { u32 words[4]; };  // loaded at once

template <class T>
DEVICE T cell(const Search& s, int column, s64 row, T absent) {
  const u64 base = column_at(s, column, row);
  return base ? ((const T*)base)[place_of(s, row)] : absent;
}

// Result order: score falling, then id.
DEVICE bool before(float score, s64 id, float other_score, s64 other_id) {
  return score > other_score || (score == other_score && id < other_id);
}

// A number that rises as scores do; both zeros have the same.
DEVICE u32 rank_of(float score) {
  const u32 bits = __float_as_uint(__fadd_rn(score, 0.0f));
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
DEVICE float score_of(u32 rank) { return __uint_as_float(rank >> 31 ? rank & 0x7FFFFFFFu : ~rank); }

DEVICE int distance(const u8* code, const u8* other, int row_bytes) {
  int sum = 0;
#pragma unroll 2
  for (int at = 0; at < row_bytes; at += 16) {
    const Sixteen a = *(const Sixteen*)(code + at), b = *(const Sixteen*)(other + at);
#pragma unroll
    for (int k = 0; k < 4; ++k) sum += __popc(a.words[k] ^ b.words[k]);
  }
  return sum;
}

// Sum of value * (+1 where the bit is set, else -1) = 2 * (sum where it is set) - total.
DEVICE int dot_of(const u8* code, const s8* values, int words, int total) {
  int sum = 0;
#pragma unroll 1
  for (int word = 0; word < 2 * words; ++word) {
    const u32 bits = ((const u32*)code)[word];
    const Sixteen* of_word = (const Sixteen*)(values + 32 * word);
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      const Sixteen four = of_word[part];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        // Copies of four bits at distances of 7 put bit j into byte j.
        const u32 chosen = ((bits >> (16 * part + 4 * k) & 15u) * 0x00204081u) & 0x01010101u;
        sum = __dp4a((int)four.words[k], (int)chosen, sum);
      }
    }
  }
  return 2 * sum - total;
}

// The score of a row's code; false if it does not reach the anchor's bar or the row's page is closed.
DEVICE bool score_code(const Search& s, int q, s64 row, float& score) {
  const u64 base = column_at(s, CODES, row);
  if (!base) return false;
  const u8* code = (const u8*)base + place_of(s, row) * s.row_bytes;
  if (s.scoring == SYMMETRIC) {
    const int h = distance(code, s.codes + (s64)q * s.row_bytes, s.row_bytes);
    if (h > s.limits[q]) return false;
    score = s.table[h];
    if (s.by_norm) score = __fmul_rn(score, __fmul_rn(cell<float>(s, NORMS, row, 1.0f), s.scales[q]));
  } else {
    const int dot = dot_of(code, s.values + (s64)q * 64 * s.words, s.words, s.totals[q]);
    score = __fmul_rn(__fmul_rn((float)dot, cell<float>(s, CORRECTIONS, row, 0.0f)), s.scales[q]);
  }
  return score >= s.bar_scores[q];
}

DEVICE bool visible(const Search& s, s64 row) {
  const u32 born = cell<u32>(s, BORN, row, 0), died = cell<u32>(s, DIED, row, 0);
  return born != 0 && born <= s.epoch && (died <= born || died > s.epoch);
}

// The filters that do not depend on the score. Columns are read where a filter asks for them alone.
DEVICE bool eligible(const Search& s, int q, s64 row) {
  const s64 excluded = ~s.exclude_groups[q];  // as rows hold groups, 0 = none
  if (excluded != 0 && cell<s64>(s, GROUPS, row, 0) == excluded) return false;
  const u64 required = s.require_tags[q], forbidden = s.forbid_tags[q];
  if (required | forbidden) {
    const u64 tags = cell<u64>(s, TAGS, row, 0);
    if ((tags & required) != required || (tags & forbidden) != 0) return false;
  }
  const s64 min_step = s.min_steps[q];
  return min_step <= 0 || (cell<s64>(s, VERSIONS, row, 0) & STEP_MAX) >= min_step;
}

// What becomes of a row with its score; `id` is the row's unless it is OUT.
DEVICE int judge(const Search& s, int q, s64 row, float score, s64& id) {
  const float bar = s.bar_scores[q];
  if (!(score >= bar)) return OUT;
  id = cell<s64>(s, IDS, row, 0);
  if (!before(score, id, bar, s.bar_ids[q]) || !visible(s, row) || !eligible(s, q, row)) return OUT;
  return before(s.after_scores[q], s.after_ids[q], score, id) ? CANDIDATE : ABOVE;
}

// Puts a candidate at a place that `fills` gave out.
DEVICE void put(const Search& s, int round, int q, int place, float score, s64 id, s64 row) {
  if (place == s.capacity) atomicOr(&s.overflows[round], CANDIDATES_OVERFLOWED);  // one of them says so
  if (place >= s.capacity) return;
  const s64 at = (s64)q * s.capacity + place;
  s.candidate_scores[at] = score;
  s.candidate_ids[at] = id;
  s.candidate_rows[at] = (int)row;
}

// Which distances, or which dot products, may still reach the anchor's bar. All threads of the block come along.
DEVICE void tune(const Search& s, int q, float bar) {
  if (s.scoring == SYMMETRIC) {
    // Products are monotone in each factor, so the weight that brings a distance highest bounds all others; a weight
    // below zero or NaN bounds nothing.
    const float scale = s.by_norm ? s.scales[q] : 1.0f;
    const float small = __fmul_rn(s.by_norm ? s.weight_min : 1.0f, scale);
    const float large = __fmul_rn(s.by_norm ? s.weight_max : 1.0f, scale);
    const float weight = bar > 0.0f ? large : small;
    const int last = 64 * s.words;
    int reaching = 0;  // the table falls: the first so many distances reach the bar
    for (int start = 0; start <= last; start += blockDim.x) {
      const int h = start + threadIdx.x;
      reaching += __syncthreads_count(h <= last && (!(small >= 0.0f) || !(__fmul_rn(s.table[h], weight) < bar)));
    }
    if (threadIdx.x == 0) s.limits[q] = reaching - 1;
  } else if (s.scoring == ASYMMETRIC && threadIdx.x == 0) {
    const float scale = s.scales[q], lowest = bar - fabsf(bar) * 1e-5f - 1e-30f;  // more than rounding may lose
    s.lows[q] = scale > 0.0f ? lowest / scale : __uint_as_float(MINUS_INFINITY);
  }
}
