// CUDA's C++ on a CPU: the vocabulary of the kernels, so that g++ compiles the very same sources. Comes before a source
// (-include) with NEGMINE_EMULATED. Values are rounded as on the device: no contraction, IEEE products and sums.
#pragma once
#include "launch.hpp"

typedef signed char s8;
typedef unsigned short u16;
typedef long long s64;

#define __device__
#define __host__
#define __global__
#define __constant__ const
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static
#define DEVICE inline
#define KERNEL(threads, blocks) extern "C" __attribute__((visibility("default"))) void
#define DYNAMIC_SHARED(name) u8* const name = emulator::machine->shared
#define threadIdx (emulator::machine->fiber->thread)
#define blockIdx (emulator::machine->block)
#define gridDim (emulator::machine->blocks)
#define blockDim (emulator::machine->block_size)
constexpr int warpSize = 32;

#define VECTOR_2(name, type) struct alignas(2 * sizeof(type)) name { type x, y; }; \
  inline name make_##name(type x, type y) { return {x, y}; }
#define VECTOR_4(name, type) struct alignas(sizeof(type) < 4 ? 4 * sizeof(type) : 16) name { type x, y, z, w; }; \
  inline name make_##name(type x, type y, type z, type w) { return {x, y, z, w}; }
VECTOR_2(int2, int)
VECTOR_2(uint2, u32)
VECTOR_2(float2, float)
VECTOR_2(longlong2, s64)
VECTOR_2(ulonglong2, u64)
VECTOR_4(int4, int)
VECTOR_4(uint4, u32)
VECTOR_4(float4, float)
VECTOR_4(char4, s8)
VECTOR_4(uchar4, u8)
#undef VECTOR_2
#undef VECTOR_4

// -- waiting; every function takes the place it is called from --

#define CALLED_FROM const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define AT(what) emulator::Place{what, file, line}

inline void __syncthreads(CALLED_FROM) { emulator::barrier(0, AT("__syncthreads")); }
inline int __syncthreads_count(int vote, CALLED_FROM) { return emulator::barrier(vote, AT("__syncthreads_count")); }
inline int __syncthreads_or(int vote, CALLED_FROM) { return emulator::barrier(vote, AT("__syncthreads_or")) != 0; }
inline int __syncthreads_and(int vote, CALLED_FROM) {
  return emulator::barrier(vote, AT("__syncthreads_and")) == emulator::machine->threads;
}
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __nanosleep(u32) { emulator::let_others(); }
[[noreturn]] inline void __trap() { emulator::fail("trap"); }

namespace emulator {
template <class F>
inline void each_lane(u32 mask, F f) {
  for (int lane = 0; lane < WARP; lane++)
    if (mask >> lane & 1) f(lane);
}
inline int lane() { return machine->fiber->number % WARP; }

template <class T>
struct Wanted { T value; int from; T result; };
template <class T>
inline void shuffle(void* const (&lanes)[WARP], u32 mask) {
  each_lane(mask, [&](int i) {
    Wanted<T>& mine = *(Wanted<T>*)lanes[i];
    if (!(mask >> mine.from & 1)) fail("a shuffle of lane %d reads lane %d, which is not in the mask", i, mine.from);
    mine.result = ((Wanted<T>*)lanes[mine.from])->value;
  });
}
template <class T>
inline T shuffled(u32 mask, T value, int from, const Place& place) {
  static_assert(__is_trivially_copyable(T) && (sizeof(T) == 4 || sizeof(T) == 8), "a shuffle moves 4 or 8 bytes");
  Wanted<T> request{value, from, value};
  bring(shuffle<T>, mask, &request, place);
  return request.result;
}

template <class T, class Step>
inline void fold(void* const (&lanes)[WARP], u32 mask) {
  T all{};
  bool first = true;
  each_lane(mask, [&](int i) {
    const T value = ((Wanted<T>*)lanes[i])->value;
    all = first ? value : Step::of(all, value);
    first = false;
  });
  each_lane(mask, [&](int i) { ((Wanted<T>*)lanes[i])->result = all; });
}
template <class Step, class T>
inline T folded(u32 mask, T value, const Place& place) {
  Wanted<T> request{value, 0, value};
  bring(fold<T, Step>, mask, &request, place);
  return request.result;
}
struct Add { template <class T> static T of(T a, T b) { return (T)((u64)a + (u64)b); } };
struct Min { template <class T> static T of(T a, T b) { return b < a ? b : a; } };
struct Max { template <class T> static T of(T a, T b) { return a < b ? b : a; } };
struct And { template <class T> static T of(T a, T b) { return a & b; } };
struct Or { template <class T> static T of(T a, T b) { return a | b; } };
struct Xor { template <class T> static T of(T a, T b) { return a ^ b; } };
struct Nothing { template <class T> static T of(T a, T) { return a; } };

template <class T>
inline void match(void* const (&lanes)[WARP], u32 mask) {
  each_lane(mask, [&](int i) {
    Wanted<T>& mine = *(Wanted<T>*)lanes[i];
    each_lane(mask, [&](int j) { mine.from |= (((Wanted<T>*)lanes[j])->value == mine.value) << j; });
  });
}
}  // namespace emulator

inline void __syncwarp(u32 mask = ~0u, CALLED_FROM) { emulator::folded<emulator::Nothing>(mask, 0u, AT("__syncwarp")); }
template <class T>
inline T __shfl_sync(u32 mask, T value, int from, int width = 32, CALLED_FROM) {
  return emulator::shuffled(mask, value, (emulator::lane() & ~(width - 1)) | (from & (width - 1)), AT("__shfl_sync"));
}
template <class T>
inline T __shfl_up_sync(u32 mask, T value, u32 by, int width = 32, CALLED_FROM) {
  const int lane = emulator::lane(), inside = lane & (width - 1);
  return emulator::shuffled(mask, value, (int)by > inside ? lane : lane - (int)by, AT("__shfl_up_sync"));
}
template <class T>
inline T __shfl_down_sync(u32 mask, T value, u32 by, int width = 32, CALLED_FROM) {
  const int lane = emulator::lane(), inside = lane & (width - 1);
  return emulator::shuffled(mask, value, inside + (int)by >= width ? lane : lane + (int)by, AT("__shfl_down_sync"));
}
template <class T>
inline T __shfl_xor_sync(u32 mask, T value, int with, int width = 32, CALLED_FROM) {
  const int lane = emulator::lane(), from = lane ^ with;
  return emulator::shuffled(mask, value, from > (lane | (width - 1)) ? lane : from, AT("__shfl_xor_sync"));
}
inline u32 __ballot_sync(u32 mask, int vote, CALLED_FROM) {
  return emulator::folded<emulator::Or>(mask, (u32)(vote != 0) << emulator::lane(), AT("__ballot_sync"));
}
inline int __any_sync(u32 mask, int vote, CALLED_FROM) {
  return emulator::folded<emulator::Or>(mask, (u32)(vote != 0), AT("__any_sync"));
}
inline int __all_sync(u32 mask, int vote, CALLED_FROM) {
  return emulator::folded<emulator::And>(mask, (u32)(vote != 0), AT("__all_sync"));
}
template <class T>
inline u32 __match_any_sync(u32 mask, T value, CALLED_FROM) {
  emulator::Wanted<T> request{value, 0, value};
  emulator::bring(emulator::match<T>, mask, &request, AT("__match_any_sync"));
  return (u32)request.from;
}
#define REDUCE(name, type, step) \
  inline type name(u32 mask, type value, CALLED_FROM) { return emulator::folded<emulator::step>(mask, value, AT(#name)); }
REDUCE(__reduce_add_sync, u32, Add)
REDUCE(__reduce_add_sync, int, Add)
REDUCE(__reduce_min_sync, u32, Min)
REDUCE(__reduce_min_sync, int, Min)
REDUCE(__reduce_max_sync, u32, Max)
REDUCE(__reduce_max_sync, int, Max)
REDUCE(__reduce_and_sync, u32, And)
REDUCE(__reduce_or_sync, u32, Or)
REDUCE(__reduce_xor_sync, u32, Xor)
#undef REDUCE

#include "instructions.hpp"
