"""What a device holds of a shard's rows, read back and compared with the host's."""

from __future__ import annotations

from typing import Any

import numpy as np
from negmine_server.device.columns import BORN, DevicePage
from negmine_server.device.gpu import Gpu
from negmine_server.domain import VectorStore
from negmine_server.index.pages import OPTIONALS, STORE_DTYPES, Column, View, gather
from numpy.typing import NDArray

FILLS = {spec.name: (spec.dtype, spec.fill) for spec in OPTIONALS if spec.column is not Column.UNCERTAINTIES}


def stored(gpu: Gpu, view: View, column: int, dtype: Any, width: int = 0) -> NDArray[Any]:
    """A column of all row numbers [P * page_rows], or [.., width]; zeros where pages lack it."""
    shape = (view.page_rows, width) if width else (view.page_rows,)
    parts = [np.zeros((0, *shape[1:]), dtype)]
    for page in view.mirrored.memory[1:]:
        assert page is None or isinstance(page, DevicePage)
        memory = None if page is None else page._columns.get(column)
        if memory is None:
            parts.append(np.zeros(shape, dtype))
        else:
            gpu.wait_for(view.mirrored.mark)
            parts.append(np.frombuffer(memory.cpu().numpy().tobytes(), dtype).reshape(shape))
    return np.concatenate(parts)


def seen(gpu: Gpu, view: View) -> list[int]:
    """The rows that a search on the device sees, by the rule of rows.cu."""
    born, died = (stored(gpu, view, column, np.uint32) for column in (BORN, Column.DIED))
    return np.flatnonzero((born > 0) & (born <= view.epoch) & ((died <= born) | (died > view.epoch))).tolist()


def check_mirror(gpu: Gpu, view: View, *, vectors_here: bool = False) -> None:
    """Everything that a search of this view reads on the device is what the host has."""
    mirrored, rows = view.mirrored, view.everything()
    assert mirrored is not None
    assert mirrored.epoch == view.epoch
    assert seen(gpu, view) == np.sort(rows).tolist()
    table = mirrored.memory[0].cpu().numpy().view(np.uint64)
    assert table.shape == (BORN + 1, mirrored.page_slots)
    assert table.ctypes.data == mirrored.directory or gpu.torch_device.type == "cuda"
    open_pages = [page is not None for page in view.pages]
    assert (table[Column.CODES, : len(view.pages)] != 0).tolist() == open_pages
    expected = gather(view, rows)
    codes = stored(gpu, view, Column.CODES, np.uint64, mirrored.row_bytes // 8)[rows]
    assert np.array_equal(codes[:, : view.words], expected["codes"])
    assert not codes[:, view.words :].any()
    for name, dtype in (("ids", np.int64), ("versions", np.int64), ("corrections", np.float32)):
        assert np.array_equal(stored(gpu, view, Column[name.upper()], dtype)[rows], expected[name])
    for name, (dtype, fill) in FILLS.items():
        column = Column[name.upper()]
        there = (table[column] != 0)[rows // view.page_rows]
        got = np.where(there, stored(gpu, view, column, dtype)[rows], np.array(fill, dtype))
        wanted = expected.get(name, np.full(len(rows), -1 if name == "groups" else fill, dtype))
        assert np.array_equal(~got if name == "groups" else got, wanted), name
    if view.store is VectorStore.NONE or not len(rows):
        return
    if vectors_here:
        assert np.array_equal(table[Column.VECTORS, : len(view.pages)], view.directory[Column.VECTORS])
    else:
        dtype = STORE_DTYPES[view.store]
        got = stored(gpu, view, Column.VECTORS, dtype, view.dimension)[rows]
        assert np.array_equal(got, expected["vectors"])
