// After `prepare`, before scan_hamming: the anchors of all slots in the order of fragments.cuh. Any grid.
#include "fragments.cuh"
#include "search.cuh"

KERNEL(256, 1) prepare_fragments(const Search* search, int) {
  const Search& s = *search;
  const int words = s.row_bytes / 4, fragment = 16 * words;
  const s64 total = (s64)((s.slots + 15) / 16) * fragment;
  for (s64 i = blockIdx.x * 256ll + threadIdx.x; i < total; i += gridDim.x * 256ll) {
    const FragmentPlace place = fragment_place((int)(i % fragment), s.row_bytes);
    const int slot = (int)(i / fragment) * 16 + place.anchor;
    const int anchor = slot < s.slots ? s.slot_anchors[slot] : -1;
    s.fragments[i] = anchor < 0 ? 0 : ((const u32*)(s.codes + (s64)anchor * s.row_bytes))[place.word];
  }
}
