// Stored vectors: what rescoring and the float scan read.
#pragma once
#include "rules.cuh"

constexpr int DOT_LANES = 16;  // lane j of a half warp sums the products at j, j + 16, ...; then lanes fold 8, 4, 2, 1

DEVICE int element_bytes(int store) { return store == INT8 ? 1 : store == FLOAT16 ? 2 : 4; }

// The value of a stored element.
DEVICE float value_of(s8 stored) { return (float)stored; }
DEVICE float value_of(u16 stored) { return half_bits_to_float(stored); }
DEVICE float value_of(float stored) { return stored; }

// A dot product with the row's scale, if its page has scales.
DEVICE float scaled(const Search& s, s64 row, float dot) {
  const u64 scales = column_at(s, SCALES, row);
  return scales ? __fmul_rn(dot, ((const float*)scales)[place_of(s, row)]) : dot;
}

// Where the vector of a row lies; 0 if its page has none.
DEVICE const u8* vector_at(const Search& s, s64 row) {
  const u64 base = column_at(s, VECTORS, row);
  return base ? (const u8*)base + place_of(s, row) * s.dimension * element_bytes(s.store) : (const u8*)0;
}
