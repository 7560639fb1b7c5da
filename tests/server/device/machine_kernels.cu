// Kernels of test_program.py: each tries one thing that a machine may do. The argument is the words it works on.
#include "machine.cuh"

#ifndef WORDS
#define WORDS 1
#endif

template <int n>
DEVICE int from_shared(int at) {
  __shared__ int kept[n];
  if (threadIdx.x < n) kept[threadIdx.x] = n + (int)threadIdx.x;
  __syncthreads();
  return kept[at % n];
}

KERNEL(64, 1) add_up(const void* argument, int number) {
  int* out = (int*)argument;
  __shared__ int sum;
  if (threadIdx.x == 0) sum = 0;
  __syncthreads();
  atomicAdd(&sum, (int)threadIdx.x + number);
  __syncthreads();
  out[blockIdx.x * 64 + threadIdx.x] = sum + from_shared<3>(threadIdx.x) * WORDS + from_shared<5>(blockIdx.x);
}

KERNEL(32, 1) shuffle(const void* argument, int number) {
  int* out = (int*)argument;
  const int lane = threadIdx.x;
  int* row = out + lane;
  row[0] = __shfl_sync(~0u, lane, 5, 8);
  row[32] = __shfl_up_sync(~0u, lane, 3, 16);
  row[64] = __shfl_down_sync(~0u, lane, 3, 16);
  row[96] = __shfl_xor_sync(~0u, lane, 6);
  row[128] = (int)__ballot_sync(~0u, lane % 3 == 0);
  row[160] = __reduce_max_sync(~0u, lane ^ 21);
  row[192] = lane < 8 ? __reduce_add_sync(0xff, lane) : __any_sync(~0xffu, lane == number);
  row[224] = (int)__match_any_sync(~0u, lane % 4);
}

KERNEL(32, 1) multiply(const void* argument, int number) {
  const u32* words = (const u32*)argument;
  const u32 *a = words + threadIdx.x * 4, *b = words + 128 + threadIdx.x * 2;
  int* d = (int*)argument + 192 + threadIdx.x * 4;
  const int c[4] = {1, 2, 3, 4};
  int product[4];
  if (number == 256) and_popc_256(product, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}, c);
  else and_popc_128(product, {a[0], a[1]}, {b[0]}, c);
  for (int i = 0; i < 4; i++) d[i] = product[i];
}

// number: 1 waits and meets before it reads, 2 does not wait, 3 does not meet, 4 copies over what others still read.
KERNEL(64, 1) copy(const void* argument, int number) {
  DYNAMIC_SHARED(shared);
  const uint4* from = (const uint4*)argument;
  uint4* out = (uint4*)argument + 64;
  uint4* kept = (uint4*)shared;
  const int me = threadIdx.x;
  if (number == 4) {
    kept[me] = from[me];
    __syncthreads();
  }
  copy_16(kept + me, from + me);
  close_copies();
  if (number != 2 && number != 4) wait_copies<0>();
  if (number != 3) __syncthreads();
  out[me] = kept[63 - me];
}

// What is an error: number says which.
KERNEL(64, 1) wrong(const void* argument, int number) {
  DYNAMIC_SHARED(shared);
  int* out = (int*)argument;
  __shared__ int small[4];
  const int me = threadIdx.x;
  if (number == 0 && me < 40) __syncthreads();
  if (number == 1) {
    if (me < 32) __syncthreads();
    else __syncthreads();
  }
  if (number == 2 && me % 2) out[me] = __shfl_sync(~0u, me, 0);
  if (number == 3) out[me] = __shfl_sync(me < 32 ? 0xffffu : ~0u, me, me);
  if (number == 4) small[me / 12] = 1;
  if (number == 5) out[me] = *(const int*)((const char*)argument + me);
  if (number == 6) out[me] = 1 << me;
  if (number == 7) ((int*)shared)[me] = 7;
  if (number == 8) out[me] = *(const int*)16;
  if (number == 9 && me < 16) out[me] = __shfl_sync(0xffff, me, me + 5);
  if (number == 10) out[me] = small[me % 4];
}

KERNEL(128, 1) numbers(const void* argument, int number) {
  const u32* in = (const u32*)argument;
  u32* out = (u32*)argument + 1024;
  const int me = blockIdx.x * 128 + threadIdx.x;
  const u32 x = in[me], y = in[me ^ 1];
  const float a = __uint_as_float(x), b = __uint_as_float(y);
  const u32 results[] = {(u32)__popc(x), (u32)__ffs((int)x), (u32)__clz((int)x), __brev(x), __byte_perm(x, y, 0x1276),
                         __funnelshift_l(x, y, 9), (u32)__dp4a((int)x, (int)y, number), (u32)__vimax3_s32((int)x, (int)y, 3),
                         __float_as_uint(__fmul_rn(a, b)), __float_as_uint(__fadd_rn(a, b)),
                         __float_as_uint(__fdiv_rn(a, b)), __float_as_uint(half_bits_to_float((u16)x))};
  for (int i = 0; i < 12; i++) out[i * 1024 + me] = results[i];
}
