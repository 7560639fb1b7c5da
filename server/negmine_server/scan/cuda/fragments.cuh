// Anchors in the order of the 1-bit tensor instruction: fragments[slots / 16][4 * row_bytes] u32, a fragment = 16 anchors.
//
// A fragment holds its anchors' codes in blocks of 256 bits and, where 128 bits are left, a block of 128. A block of 256
// bits is [lane][4]: lane 4g + c has, in this order, word 2c of anchors g and g + 8, then word 2c + 1 of both, words of 32
// bits counted from the block's first. A block of 128 bits is [lane][2]: word c of anchors g and g + 8. The instruction
// would have words c and c + 4 in one lane; that lane reads 2c and 2c + 1 of an item too, eight bytes that lie together.
#pragma once
#include "machine.cuh"

struct FragmentPlace { int anchor, word; };  // of the fragment's 16, 32-bit word of its code

DEVICE FragmentPlace fragment_place(int at, int row_bytes) {
  const int block = at / 128, in_wide = row_bytes / 32 * 128;
  if (at < in_wide) {
    const int lane = at % 128 / 4, part = at % 4;
    return {lane / 4 + part % 2 * 8, block * 8 + lane % 4 * 2 + part / 2};
  }
  const int lane = (at - in_wide) / 2;
  return {lane / 4 + at % 2 * 8, row_bytes / 32 * 8 + lane % 4};
}
