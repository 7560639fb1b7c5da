// What every kernel of a search reads: one block of numbers and addresses, uploaded with the anchors. `scan/cuda/block.py`
// is its other half. Every kernel is launched as kernel(search, round).
//
// A search scans *works* in rounds: work w of an exhaustive scan is a tile of TILE_ROWS rows for all slots, tiles in a
// scattered order so that the first rounds are a sample of all rows; a probed scan has a list of works. Scanners append
// *units* (an anchor and a few rows of which one may enter); `offer` scores their rows exactly and takes those that enter
// into the anchor's candidates; `cut` keeps the best r and raises the bar.
#pragma once
#include "machine.cuh"

constexpr int TILE_ROWS = 256;
constexpr int ROUNDS_MAX = 64;

enum Column { IDS, VERSIONS, DIED, CORRECTIONS, CODES, GROUPS, TAGS, UNCERTAINTIES, NORMS, VECTORS, SCALES, BORN, COLUMNS };
enum Scoring { SYMMETRIC, ASYMMETRIC, FLOAT };
enum Store { NO_VECTORS, INT8, FLOAT16, FLOAT32 };
enum Overflow { UNITS_OVERFLOWED = 1, CANDIDATES_OVERFLOWED = 2 };

struct Unit { u32 anchor, place; };
struct Round { int first, last; };                       // works [first, last)
struct Work { int tile, first_slot, slots, unused; };    // the rows of a tile for slots [first_slot, first_slot + slots)

struct Search {
  // Rows.
  const u64* directory;  // [COLUMNS][page_slots] base addresses, 0 = the page lacks the column
  int page_slots;
  int page_shift;        // log2 of the rows of a page, at least 8
  u32 epoch;             // a row is visible if 0 < born <= epoch and (died <= born or died > epoch)
  int words;             // 64-bit words of a code
  int row_bytes;         // of a stored code: 8 * words up to a multiple of 16, the rest zero
  int dimension;         // of stored vectors
  int store;             // Store
  // Works.
  int tiles;             // of all pages
  int stride;            // exhaustive: work w is tile (w * stride) mod tiles
  int unit_rows;         // 16: rows 64g + 8i + 2c + {0, 1}, i < 8, of place 4g + c; 64: the rows from 64 * place on
  const Work* works;     // 0 = exhaustive
  const Round* rounds;   // [ROUNDS_MAX]
  // Anchors.
  int anchors;           // B
  int slots;             // places of anchors in a scan: B, or in a probed scan every step's, padded
  int r;                 // candidates wanted, >= 1
  int capacity;          // of an anchor's candidates, >= r + TILE_ROWS
  int units_max;
  int scoring;           // Scoring
  int by_norm;           // symmetric scores are multiplied by the item's norm
  float weight_min, weight_max;  // of all rows' norms (1, 1 without)
  int reserved;
  const int* slot_anchors;   // [slots] anchor of a slot, -1 = padding
  const u8* codes;           // [B][row_bytes]
  const s8* values;          // [B][64 * words], asymmetric
  const float* scales;       // [B]
  const float* vectors;      // [B][dimension]
  const float* after_scores; // [B]
  const s64* after_ids;      // [B]
  const float* floors;       // [B]
  const s64* exclude_groups; // [B], -1 = none
  const u64* require_tags;   // [B]
  const u64* forbid_tags;    // [B]
  const s64* min_steps;      // [B]
  const float* table;        // [64 * words + 1], the cosine of a distance
  // Working space.
  u32* fragments;        // [slots / 16][...] the anchors' codes in the order of the 1-bit tensor instruction
  s8* planes;            // [slots][64 * words] values in the order of the int8 kernel
  int* ones;             // [B] set bits of the anchor's code
  int* totals;           // [B] sum of the anchor's values
  float* bar_scores;     // [B] a row enters whose (score, id) comes before the bar
  s64* bar_ids;          // [B]
  int* limits;           // [B] symmetric: the highest distance that may enter, -1 = none
  float* lows;           // [B] asymmetric: the lowest dot * correction that may enter
  int* fills;            // [B] candidates there, may exceed capacity
  int* kept;             // [B] candidates there before the round
  u64* above;            // [B] eligible rows that do not come after the cursor
  u64* above_now;        // [B] of this round
  float* candidate_scores;  // [B][capacity]
  s64* candidate_ids;       // [B][capacity]
  int* candidate_rows;      // [B][capacity]
  Unit* units;           // [units_max]
  u32* unit_counts;      // [ROUNDS_MAX], may exceed units_max
  int* overflows;        // [ROUNDS_MAX] Overflow: the round's candidates were dropped, it is to be done again in parts
  // Results, the rest of a row padded with -1, -inf, -inf, 0, -1.
  s64* ids;              // [B][r]
  float* scores;         // [B][r]
  float* rescored;       // [B][r]
  s64* versions;         // [B][r]
  int* rows;             // [B][r]
  int* counts;           // [B]
};

DEVICE u64 column_at(const Search& s, int column, s64 row) { return s.directory[column * s.page_slots + (row >> s.page_shift)]; }
DEVICE s64 place_of(const Search& s, s64 row) { return row & ((1ll << s.page_shift) - 1); }

// The tile of a work; its page may be closed (no codes).
DEVICE int tile_of(const Search& s, int work) {
  return s.works ? s.works[work].tile : (int)((u64)work * (u64)s.stride % (u64)s.tiles);
}

// The stored code of a tile's first row; rows follow one another by row_bytes. 0 = the page is closed.
DEVICE const u8* tile_codes(const Search& s, int tile) {
  const s64 row = (s64)tile * TILE_ROWS;
  const u64 at = column_at(s, CODES, row);
  return at ? (const u8*)at + place_of(s, row) * s.row_bytes : (const u8*)0;
}
