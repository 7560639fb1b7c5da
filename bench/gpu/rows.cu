// Rows that are made where they lie: bits of a hash of the row's number, so that any of them can be made again elsewhere.
// Launched as kernel(made, 0).
#include "search.cuh"

struct Made {
  const u64* directory;  // [COLUMNS][page_slots], as of a search
  u64* codes;            // [last - first][words], 0 = into the directory's pages
  float* corrections;    // [last - first], with codes
  s64 first, last;       // rows
  u64 seed;
  int page_slots, page_shift;
  int words, row_bytes;
  u32 born;
  int unused;
};

// The finisher of SplitMix64.
DEVICE u64 hash(u64 x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

KERNEL(256, 4) make_rows(const Made* made, int) {
  const Made& m = *made;
  const s64 all = (s64)gridDim.x * blockDim.x;
  for (s64 row = m.first + (s64)blockIdx.x * blockDim.x + threadIdx.x; row < m.last; row += all) {
    const u64 place = row & ((1ll << m.page_shift) - 1);
    const u64* const bases = m.directory + (row >> m.page_shift);
    u64* const code = m.codes ? m.codes + (row - m.first) * m.words : (u64*)(bases[CODES * m.page_slots] + place * m.row_bytes);
    for (int word = 0; word < m.words; word++) code[word] = hash(m.seed ^ hash(row * m.words + word));
    const float correction = 0.75f + (float)(hash(~m.seed ^ row) >> 40) * 0x1p-25f;
    if (m.codes) {
      m.corrections[row - m.first] = correction;
      continue;
    }
    ((s64*)bases[IDS * m.page_slots])[place] = row;
    ((s64*)bases[VERSIONS * m.page_slots])[place] = 1;
    ((float*)bases[CORRECTIONS * m.page_slots])[place] = correction;
    ((u32*)bases[BORN * m.page_slots])[place] = m.born;
  }
}
