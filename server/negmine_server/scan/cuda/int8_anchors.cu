// After `prepare`, before the scanner of int8.py: the anchors of all slots as int8 in the order in which it makes bytes of
// bits: of every word first bit 0 of its eight bytes, then bit 1 of them, and so on. Symmetric: +1 and -1 after the
// anchor's bits. Any grid.
#include "search.cuh"

KERNEL(256, 1) prepare_planes(const Search* search, int) {
  const Search& s = *search;
  const int width = 64 * s.words;
  const s64 total = (s64)s.slots * width;
  for (s64 i = blockIdx.x * 256ll + threadIdx.x; i < total; i += gridDim.x * 256ll) {
    const int slot = (int)(i / width), k = (int)(i % width);
    const int anchor = s.slot_anchors[slot], byte = k / 64 * 8 + k % 8, bit = k / 8 % 8;
    if (anchor < 0)
      s.planes[i] = 0;
    else if (s.scoring == SYMMETRIC)
      s.planes[i] = (s.codes[(s64)anchor * s.row_bytes + byte] >> bit & 1) ? 1 : -1;
    else
      s.planes[i] = s.values[(s64)anchor * width + 8 * byte + bit];
  }
}
