// Counting the bits of eight words with four POPC, which are a quarter as fast as logic: words go through carry-save adders
// that hold the count as ones, twos and fours.
//
// With p_i the running XOR of the words, an adder of p_i, word i + 1 and word i + 2 has the sum p_(i+2), and its carry is a
// function of p_i, p_(i+1) and p_(i+2): one three-input instruction a word, which makes the word too (p ^ q ^ x, or
// p ^ (q & x)), and one a carry.
#pragma once
#include "machine.cuh"

constexpr int XOR_3 = 0x96, MAJORITY = 0xe8;

template <bool AND>
DEVICE u32 fold(u32 before, u32 q, u32 x) { return logic<AND ? 0xf0 ^ (0xcc & 0xaa) : XOR_3>(before, q, x); }

// Of three words a, b, c the majority, from a, a ^ b and a ^ b ^ c.
DEVICE u32 carry(u32 first, u32 two, u32 three) { return logic<(0xcc & ~0xaa) | (~0xcc & 0xf0)>(first, two, three); }

struct Count { int part, rest; };  // part + rest: the sum is left to an instruction that does more

// The set bits of q ^ x, or of q & x, over N = 8 or 4 words.
template <bool AND, int N>
DEVICE Count count_words(const u32* q, const u32* x) {
  const u32 p0 = fold<AND>(0, q[0], x[0]), p1 = fold<AND>(p0, q[1], x[1]), p2 = fold<AND>(p1, q[2], x[2]);
  const u32 twos = carry(p0, p1, p2), last = fold<AND>(0, q[N - 1], x[N - 1]);
  if (N == 4) return {__popc(p2) + 2 * __popc(twos), __popc(last)};
  const u32 p3 = fold<AND>(p2, q[3], x[3]), p4 = fold<AND>(p3, q[4], x[4]), p5 = fold<AND>(p4, q[5], x[5]);
  const u32 p6 = fold<AND>(p5, q[6], x[6]);
  const u32 more = carry(p2, p3, p4), yet_more = carry(p4, p5, p6);
  const u32 fours = logic<MAJORITY>(twos, more, yet_more), odd = logic<XOR_3>(twos, more, yet_more);
  return {__popc(p6) + 2 * (__popc(odd) + 2 * __popc(fours)), __popc(last)};
}
