// The few instructions of the machine that C++ has no name for. `NEGMINE_EMULATED` leaves them to a header that comes
// first, which runs every thread of a block on a CPU.
#pragma once

typedef unsigned char u8;
typedef signed char s8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

#ifndef NEGMINE_EMULATED
#define DEVICE __device__ __forceinline__
#define KERNEL(threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks)
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) u8 name[]

// d = popc(a & b) + c over 256 bits: a 16 anchors, b 8 items, d and c 16 x 8 (fragments as in the PTX ISA, mma.m16n8k256).
DEVICE void and_popc_256(int (&d)[4], const u32 (&a)[4], const u32 (&b)[2], const int (&c)[4]) {
  asm volatile(
      "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%10,%11,%12,%13};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));
}

// The same over 128 bits.
DEVICE void and_popc_128(int (&d)[4], const u32 (&a)[2], const u32 (&b)[1], const int (&c)[4]) {
  asm volatile(
      "mma.sync.aligned.m16n8k128.row.col.s32.b1.b1.s32.and.popc {%0,%1,%2,%3},{%4,%5},{%6},{%7,%8,%9,%10};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(b[0]), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));
}

// A function of three bits for each of 32: `table` is what it makes of 0xf0, 0xcc and 0xaa.
template <int table>
DEVICE u32 logic(u32 a, u32 b, u32 c) {
  u32 d;
  asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(d) : "r"(a), "r"(b), "r"(c), "n"(table));
  return d;
}

// Sixteen bytes from device memory to shared memory, behind the thread's back until `copies_left` of its groups are open.
// Devices before 8.0 copy at once.
DEVICE void copy_16(void* shared, const void* from) {
#if __CUDA_ARCH__ < 800
  *(uint4*)shared = *(const uint4*)from;
#else
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((u32)__cvta_generic_to_shared(shared)), "l"(from));
#endif
}
DEVICE void close_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;");
#endif
}
template <int copies_left>
DEVICE void wait_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(copies_left) : "memory");
#endif
}

// The value of an IEEE half, which C++ has no type for.
DEVICE float half_bits_to_float(u16 half) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
  return value;
}
#endif

// x, of which the compiler knows nothing: what follows from it is worked out in place, not kept in registers all along.
DEVICE int unforeseen(int x) {
  asm volatile("" : "+r"(x));
  return x;
}
