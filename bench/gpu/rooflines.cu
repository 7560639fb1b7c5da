// What a card can do at most: reading device memory, 1-bit products on tensor cores, and population counts, with nothing
// else in the way. Launched as kernel(probe, times).
#include "machine.cuh"

struct Probe {
  const uint4* words;  // [count]
  u64 count;
  u32* out;            // [blocks * threads]
};

constexpr int CHAINS = 8;  // independent ones a thread, so that an instruction's latency does not show

// Every word once a time, LOADS of a thread on their way at once.
KERNEL(256, 4) read_words(const Probe* probe, int times) {
  constexpr int LOADS = 4;
  const uint4* const words = probe->words;
  const u64 count = probe->count, all = (u64)gridDim.x * blockDim.x, first = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  u32 sum = 0;
  for (int time = 0; time < times; time++)
    for (u64 i = first; i < count; i += LOADS * all) {
      uint4 loaded[LOADS];
#pragma unroll
      for (int load = 0; load < LOADS; load++) {
        const u64 at = i + load * all;
        loaded[load] = __ldcs(words + (at < count ? at : first));
      }
#pragma unroll
      for (int load = 0; load < LOADS; load++) sum += loaded[load].x ^ loaded[load].y ^ loaded[load].z ^ loaded[load].w;
    }
  probe->out[first] = sum;
}

// CHAINS products of 16 x 8 x 256 bits a warp and time.
KERNEL(256, 2) multiply_bits(const Probe* probe, int times) {
  const u64 first = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  const uint4 word = probe->words[first % probe->count];
  const u32 a[4] = {word.x, word.y, word.z, word.w}, b[2] = {word.y, word.z};
  int sums[CHAINS][4] = {};
  for (int time = 0; time < times; time++)
#pragma unroll
    for (int chain = 0; chain < CHAINS; chain++) {
      const int before[4] = {sums[chain][0], sums[chain][1], sums[chain][2], sums[chain][3]};
      and_popc_256(sums[chain], a, b, before);
    }
  u32 sum = 0;
#pragma unroll
  for (int chain = 0; chain < CHAINS; chain++)
    for (int i = 0; i < 4; i++) sum += sums[chain][i];
  probe->out[first] = sum;
}

// 4 * CHAINS counts of 32 bits a thread and time; each depends on the one before it in its chain.
KERNEL(256, 4) count_bits(const Probe* probe, int times) {
  const u64 first = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  const uint4 word = probe->words[first % probe->count];
  u32 sums[CHAINS];
#pragma unroll
  for (int chain = 0; chain < CHAINS; chain++) sums[chain] = word.x + chain;
  for (int time = 0; time < times; time++)
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int chain = 0; chain < CHAINS; chain++) sums[chain] = word.y + __popc(sums[chain]);
  u32 sum = 0;
#pragma unroll
  for (int chain = 0; chain < CHAINS; chain++) sum += sums[chain];
  probe->out[first] = sum;
}
