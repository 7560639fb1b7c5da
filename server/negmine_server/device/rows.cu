// A batch of updates: rows are written into their pages, column by column, and rows are marked dead. Searches run on.
//
// A row is visible if 0 < born <= epoch and (died <= born or died > epoch). So the single store of `born` turns a row
// that had died, for every running search, into one that is not born yet: `died` stays as it was, and neither caches
// nor the order of stores can show a search a mixture. Of what a search can see nothing else changes but `died`,
// which becomes an epoch later than the search's.
#include "search.cuh"

struct Field {
  const u8* values;  // [row_count][bytes], 0 = every row gets `fill`
  u64 fill;
  int column;
  int bytes;         // of a row's value
  int stride;        // of a row in the page, >= bytes
  int unit;          // bytes moved at once: divides `bytes` and `stride`, and what `values` is aligned to
};

struct Update {
  const u64* directory;  // [COLUMNS][page_slots] base addresses, 0 = the page lacks the column or is closed
  const Field* fields;   // [field_count]
  const int* rows;       // [row_count] row numbers
  const int* killed;     // [killed_count] row numbers
  int page_slots, page_shift;
  int field_count, row_count, killed_count;
  u32 epoch;
};

DEVICE u8* cell_of(const Update& u, int column, int stride, int row) {
  const u64 base = u.directory[column * u.page_slots + (row >> u.page_shift)];
  return base ? (u8*)base + (u64)(row & ((1 << u.page_shift) - 1)) * stride : (u8*)0;
}

template <class T>
DEVICE void write(const Update& u, const Field& field, int first, int step) {
  const u32 units = field.bytes / sizeof(T), all = u.row_count * units;
  for (u32 i = first; i < all; i += step) {
    u8* to = cell_of(u, field.column, field.stride, u.rows[i / units]);
    if (to) ((T*)to)[i % units] = ((const T*)field.values)[i];
  }
}

template <class T>
DEVICE void fill(const Update& u, const Field& field, int first, int step) {
  for (int i = first; i < u.row_count; i += step) {
    u8* to = cell_of(u, field.column, field.stride, u.rows[i]);
    if (to) *(T*)to = (T)field.fill;
  }
}

// A row of blocks a field, and one for the rows that die.
KERNEL(256, 4) append(const Update* update, int) {
  const Update& u = *update;
  const int first = blockIdx.x * blockDim.x + threadIdx.x, step = gridDim.x * blockDim.x;
  if ((int)blockIdx.y == u.field_count) {
    for (int i = first; i < u.killed_count; i += step) {
      u8* to = cell_of(u, DIED, 4, u.killed[i]);
      if (to) *(u32*)to = u.epoch;
    }
    return;
  }
  const Field& field = u.fields[blockIdx.y];
  if (!field.values) {
    if (field.bytes == 8) fill<u64>(u, field, first, step);
    else fill<u32>(u, field, first, step);
  } else if (field.unit == 16) {
    write<uint4>(u, field, first, step);
  } else if (field.unit == 8) {
    write<u64>(u, field, first, step);
  } else if (field.unit == 4) {
    write<u32>(u, field, first, step);
  } else {
    write<u8>(u, field, first, step);
  }
}
