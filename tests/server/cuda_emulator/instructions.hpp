// The instructions of one thread, the 1-bit tensor instruction, copies behind a thread's back, and what g++'s checks call.
#pragma once

#define ATOMIC(name, type, new_value)                                  \
  inline type name(type* at, type value, CALLED_FROM) {                \
    emulator::check_aligned(at, sizeof(type), AT(#name));              \
    emulator::meet();                                                  \
    const type before = *at;                                           \
    *at = (new_value);                                                 \
    return before;                                                     \
  }
namespace emulator {
inline void check_aligned(const void* at, size_t bytes, const Place& place) {
  if ((u64)at % bytes) fail("%s at %s:%d of a misaligned address", place.what, place.file, place.line);
}
}  // namespace emulator
ATOMIC(atomicAdd, int, (int)((u32)before + (u32)value))
ATOMIC(atomicAdd, u32, before + value)
ATOMIC(atomicAdd, u64, before + value)
ATOMIC(atomicAdd, float, before + value)
ATOMIC(atomicSub, int, (int)((u32)before - (u32)value))
ATOMIC(atomicSub, u32, before - value)
#define ATOMICS(type)                                          \
  ATOMIC(atomicMin, type, value < before ? value : before)     \
  ATOMIC(atomicMax, type, before < value ? value : before)     \
  ATOMIC(atomicAnd, type, before & value)                      \
  ATOMIC(atomicOr, type, before | value)                       \
  ATOMIC(atomicXor, type, before ^ value)                      \
  ATOMIC(atomicExch, type, value)                              \
  inline type atomicCAS(type* at, type expected, type value) { \
    emulator::meet();                                          \
    const type before = *at;                                   \
    if (before == expected) *at = value;                       \
    return before;                                             \
  }
ATOMICS(int)
ATOMICS(u32)
ATOMICS(u64)
ATOMIC(atomicMin, s64, value < before ? value : before)
ATOMIC(atomicMax, s64, before < value ? value : before)
ATOMIC(atomicExch, float, value)
#undef ATOMICS
#undef ATOMIC

inline int __popc(u32 x) { return __builtin_popcount(x); }
inline int __popcll(u64 x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(s64 x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz((u32)x) : 32; }
inline int __clzll(s64 x) { return x ? __builtin_clzll((u64)x) : 64; }
inline u32 __brev(u32 x) {
  u32 result = 0;
  for (int i = 0; i < 32; i++) result |= (x >> i & 1) << (31 - i);
  return result;
}
inline u32 __byte_perm(u32 low, u32 high, u32 selector) {
  const u64 bytes = (u64)high << 32 | low;
  u32 result = 0;
  for (int i = 0; i < 4; i++) result |= (u32)(bytes >> (selector >> 4 * i & 7) * 8 & 0xff) << 8 * i;
  return result;
}
inline u32 __funnelshift_l(u32 low, u32 high, u32 by) { return (u32)(((u64)high << 32 | low) << (by & 31) >> 32); }
inline u32 __funnelshift_r(u32 low, u32 high, u32 by) { return (u32)(((u64)high << 32 | low) >> (by & 31)); }
inline u32 __umulhi(u32 a, u32 b) { return (u32)((u64)a * b >> 32); }
inline u64 __umul64hi(u64 a, u64 b) { return (u64)((unsigned __int128)a * b >> 64); }
inline int __vimax3_s32(int a, int b, int c) { return a > b ? (a > c ? a : c) : (b > c ? b : c); }
inline int __vimin3_s32(int a, int b, int c) { return a < b ? (a < c ? a : c) : (b < c ? b : c); }
inline int __viaddmin_s32(int a, int b, int c) { return a + b < c ? a + b : c; }
inline int __viaddmax_s32(int a, int b, int c) { return a + b < c ? c : a + b; }
inline u32 __viaddmin_u32(u32 a, u32 b, u32 c) { return a + b < c ? a + b : c; }
inline u32 __viaddmax_u32(u32 a, u32 b, u32 c) { return a + b < c ? c : a + b; }
template <class Sum, class Part, class A>
inline Sum dot_of_bytes(A a, A b, Sum sum) {
  for (int i = 0; i < 4; i++) sum += (Sum)(Part)(a >> 8 * i) * (Sum)(Part)(b >> 8 * i);
  return sum;
}
inline int __dp4a(int a, int b, int sum) { return dot_of_bytes<int, s8>(a, b, sum); }
inline u32 __dp4a(u32 a, u32 b, u32 sum) { return dot_of_bytes<u32, u8>(a, b, sum); }

template <class T> inline T __ldg(const T* at) { return *at; }
template <class T> inline T __ldcs(const T* at) { return *at; }
template <class T> inline T __ldcg(const T* at) { return *at; }
template <class T> inline void __stcs(T* at, T value) { *at = value; }
template <class T> inline void __stcg(T* at, T value) { *at = value; }

// Of two kinds the wider, of two as wide the unsigned one, as in CUDA.
template <class A, class B>
inline auto min(A a, B b) -> decltype(a + b) {
  typedef decltype(a + b) T;
  return (T)b < (T)a ? (T)b : (T)a;
}
template <class A, class B>
inline auto max(A a, B b) -> decltype(a + b) {
  typedef decltype(a + b) T;
  return (T)a < (T)b ? (T)b : (T)a;
}
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }

template <class To, class From>
inline To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
inline int __float_as_int(float x) { return same_bits<int>(x); }
inline u32 __float_as_uint(float x) { return same_bits<u32>(x); }
inline float __int_as_float(int x) { return same_bits<float>(x); }
inline float __uint_as_float(u32 x) { return same_bits<float>(x); }
inline s64 __double_as_longlong(double x) { return same_bits<s64>(x); }
inline double __longlong_as_double(s64 x) { return same_bits<double>(x); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __int2float_rn(int x) { return (float)x; }
inline float __uint2float_rn(u32 x) { return (float)x; }
inline float __ll2float_rn(s64 x) { return (float)x; }
inline float __double2float_rn(double x) { return (float)x; }
inline int saturated_int(float whole) {
  return whole != whole ? 0 : whole >= 2147483648.0f ? 2147483647 : whole < -2147483648.0f ? -2147483647 - 1 : (int)whole;
}
inline int __float2int_rn(float x) { return saturated_int(nearbyintf(x)); }
inline int __float2int_rz(float x) { return saturated_int(truncf(x)); }
inline int __float2int_rd(float x) { return saturated_int(floorf(x)); }
inline int __float2int_ru(float x) { return saturated_int(ceilf(x)); }

inline float half_bits_to_float(u16 half) {
  const u32 sign = (u32)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
  if (exponent == 31) return __uint_as_float(sign | 0x7f800000 | fraction << 13);
  const float size = exponent ? ldexpf((float)(1024 + fraction), (int)exponent - 25) : ldexpf((float)fraction, -24);
  return __uint_as_float(sign | __float_as_uint(size));
}

// -- machine.cuh --

namespace emulator {
// Fragments of mma.m16n8k128/256 (PTX ISA, "Matrix Fragments for mma.m16n8k256"): lane 4 * group + part holds of A the
// rows group (even registers) and group + 8 (odd ones), of B the column group, 32 bits each from bit 32 * part (+ 128 in
// the second half of the registers) on; of C and D the rows group and group + 8, columns 2 * part and 2 * part + 1.
template <int halves>
struct BitProduct { const u32 *a, *b; const int* c; int* d; };
template <int halves>
inline void bit_product(void* const (&lanes)[WARP], u32) {
  int results[WARP][4];
  for (int i = 0; i < WARP * 4; i++) {
    const int lane = i / 4, at = i % 4, row = lane / 4 + at / 2 * 8, column = lane % 4 * 2 + at % 2;
    int sum = ((const BitProduct<halves>*)lanes[lane])->c[at];
    for (int part = 0; part < 4; part++) {
      const u32* a = ((const BitProduct<halves>*)lanes[row % 8 * 4 + part])->a;
      const u32* b = ((const BitProduct<halves>*)lanes[column * 4 + part])->b;
      for (int half = 0; half < halves; half++) sum += __builtin_popcount(a[2 * half + row / 8] & b[half]);
    }
    results[lane][at] = sum;
  }
  for (int lane = 0; lane < WARP; lane++) memcpy(((const BitProduct<halves>*)lanes[lane])->d, results[lane], sizeof results[0]);
}
}  // namespace emulator

inline void and_popc_256(int (&d)[4], const u32 (&a)[4], const u32 (&b)[2], const int (&c)[4], CALLED_FROM) {
  emulator::BitProduct<2> request{a, b, c, d};
  emulator::bring(emulator::bit_product<2>, ~0u, &request, AT("and_popc_256"));
}
inline void and_popc_128(int (&d)[4], const u32 (&a)[2], const u32 (&b)[1], const int (&c)[4], CALLED_FROM) {
  emulator::BitProduct<1> request{a, b, c, d};
  emulator::bring(emulator::bit_product<1>, ~0u, &request, AT("and_popc_128"));
}

template <int table>
inline u32 logic(u32 a, u32 b, u32 c) {
  u32 result = 0;
  for (int i = 0; i < 8; i++)
    if (table >> i & 1) result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
  return result;
}

// A copy may land at any time before it is waited for: until then there is garbage, so that whoever still reads what was
// there, or reads before the wait, is found out.
inline void copy_16(void* shared, const void* from, CALLED_FROM) {
  emulator::Fiber& f = *emulator::machine->fiber;
  emulator::check_aligned(shared, 16, AT("copy_16"));
  emulator::check_aligned(from, 16, AT("copy_16"));
  if (f.copy_count == emulator::COPIES_MAX) emulator::fail("copy_16 at %s:%d: %d copies are open", file, line, f.copy_count);
  memset(shared, 0xd7, 16);
  f.copies[f.copy_count++] = {shared, from};
}
inline void close_copies() {
  emulator::Fiber& f = *emulator::machine->fiber;
  if (f.group_count == emulator::COPIES_MAX) emulator::fail("close_copies: %d groups are open", f.group_count);
  f.group_ends[f.group_count++] = f.copy_count;
}
template <int copies_left>
inline void wait_copies() {
  emulator::Fiber& f = *emulator::machine->fiber;
  const int groups = f.group_count - copies_left;
  if (groups <= 0) return;
  const int done = f.group_ends[groups - 1];
  for (int i = 0; i < done; i++) memcpy(f.copies[i].to, f.copies[i].from, 16);
  memmove(f.copies, f.copies + done, (f.copy_count - done) * sizeof f.copies[0]);
  f.copy_count -= done;
  for (int i = groups; i < f.group_count; i++) f.group_ends[i - groups] = f.group_ends[i] - done;
  f.group_count = copies_left;
}

// -- what -fsanitize=bounds,alignment,shift-exponent calls (GCC passes where it was compiled first) --

namespace emulator {
struct Source { const char* file; u32 line, column; };
[[noreturn]] inline void fail_at(const void* source, const char* what) {
  const Source& at = *(const Source*)source;
  fail("%s at %s:%u", what, at.file, at.line);
}
}  // namespace emulator
#define CHECK(name, what, ...) \
  extern "C" __attribute__((visibility("hidden"), used)) void __ubsan_handle_##name##_abort(void* source, ##__VA_ARGS__) { \
    emulator::fail_at(source, what); \
  }
CHECK(out_of_bounds, "index out of bounds", void*)
CHECK(type_mismatch_v1, "misaligned address", void*)
CHECK(shift_out_of_bounds, "shift by more than there are bits", void*, void*)
#undef CHECK
