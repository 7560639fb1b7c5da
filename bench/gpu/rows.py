"""Rows on the device alone: as many as it holds, made there within seconds, in the pages that the product has.

The host has none of them, neither ids nor log, so nothing but searches can be asked for.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from negmine_server.device.pages import DevicePages
from negmine_server.device.program import Kernel
from negmine_server.domain import VectorStore
from negmine_server.index.blocks import BLOCK_ROWS, Allocation
from negmine_server.index.pages import Column, View
from negmine_server.scan.cuda.search import Searcher
from numpy.typing import NDArray

from gpu.card import Card, Skipped
from gpu.peers import CHUNK_ROWS, unpacked

MAKE_ROWS = Kernel(Path(__file__).with_name("rows.cu"), "make_rows", 256)
MADE = np.dtype(
    [
        *((name, np.uint64) for name in ("directory", "codes", "corrections", "first", "last", "seed")),
        *((name, np.int32) for name in ("page_slots", "page_shift", "words", "row_bytes", "born", "unused")),
    ]
)
ROW_BYTES_BESIDE_CODE = 28  # id, version, correction, died, born
BORN = 1
SEED = 20_260


class Table:
    """Rows of random bits, and the searches over them.

    Args:
        spare_rows: room for more, in pages of their own.

    Attributes:
        view: what searches take.
        pages: of the device.
        spare_first: the first spare row.
        batches: how many were written to the spare rows.
    """

    def __init__(self, card: Card, bits: int, label: str, spare_rows: int = 0) -> None:
        self._card = card
        self.bits, self.words = bits, bits // 64
        self.rows = card.rows(label)
        row_bytes = -(-8 * self.words // 16) * 16
        self.code_bytes = self.rows * row_bytes
        self.bytes = self.rows * (row_bytes + ROW_BYTES_BESIDE_CODE)
        if not card.fits(self.bytes):
            raise Skipped(
                f"{label} rows of {bits} bits take {self.bytes / 1e9:.0f} GB, which this card has no room for"
            )
        card.gpu.launcher.prepare([MAKE_ROWS])
        self.pages = self.pages_of(card, bits)
        pages = -(-self.rows // card.page_rows)
        self.spare_first = pages * card.page_rows
        pages += -(-spare_rows // card.page_rows)
        for slot in range(pages):
            self.pages.open_page(slot)
        mirrored: Any = self.pages.publish(BORN + 1, np.zeros(pages, np.uint64))
        assert mirrored is not None, self.pages.problem
        blocks = pages * card.page_rows // BLOCK_ROWS
        self.view = View(
            words=self.words,
            page_rows=card.page_rows,
            block_rows=BLOCK_ROWS,
            dimension=0,
            store=VectorStore.NONE,
            epoch=BORN + 1,
            directory=np.zeros((len(Column), pages), np.uint64),
            pages=(None,) * pages,
            counts=np.full(blocks, BLOCK_ROWS),
            dead=np.zeros(blocks, np.int64),
            allocation=Allocation(np.zeros(blocks, np.int32), {0: 0}),
            rows=self.rows,
            mirrored=mirrored,
        )
        self.batches = 0
        self._no_vectors = np.zeros(pages, np.uint64)
        self._make(0, self.rows, directory=mirrored.directory, page_slots=mirrored.page_slots)

    @staticmethod
    def pages_of(card: Card, bits: int) -> DevicePages:
        """The product's pages on the device, none yet open."""
        return DevicePages(card.gpu, bits // 64, VectorStore.NONE, 0, card.page_rows)

    def publish(self) -> None:
        """What was written to the pages and killed shows in the view from now on."""
        epoch = self.view.epoch + 1
        self.view = replace(self.view, epoch=epoch, mirrored=self.pages.publish(epoch, self._no_vectors))

    def searcher(self, *names: str) -> Searcher:
        """With the device's own scanners, or those of these names: symmetric, asymmetric."""
        return self._card.searcher(self.words, *names)

    def codes(self, first: int, last: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes int64 [n, W] and corrections [n] of rows, made anew."""
        gpu = self._card.gpu
        codes = gpu.empty((last - first, self.words), torch.int64)
        corrections = gpu.empty((last - first,), torch.float32)
        self._make(first, last, codes=codes.data_ptr(), corrections=corrections.data_ptr())
        return codes, corrections

    def signs(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All codes as int8 [rows, bits] of +1 and -1, and the corrections [rows]."""
        signs = self._card.gpu.empty((self.rows, self.bits), torch.int8)
        corrections = self._card.gpu.empty((self.rows,), torch.float32)
        for first in range(0, self.rows, CHUNK_ROWS):
            part = slice(first, min(first + CHUNK_ROWS, self.rows))
            codes, corrections[part] = self.codes(part.start, part.stop)
            signs[part] = unpacked(codes)
        return signs, corrections

    def codes_on_host(self) -> NDArray[np.uint64]:
        """All codes [rows, W]."""
        return self.codes(0, self.rows)[0].cpu().numpy().view(np.uint64)

    def _make(self, first: int, last: int, **numbers: int) -> None:
        """Launches `make_rows` and waits for it."""
        card = self._card
        made = np.zeros(1, MADE)
        numbers |= {"first": first, "last": last, "seed": SEED + self.bits, "born": BORN}
        numbers |= {"page_shift": self.view.shift, "words": self.words, "row_bytes": self.code_bytes // self.rows}
        for name, value in numbers.items():
            made[name] = value
        block = torch.from_numpy(made.view(np.uint8)).to(card.gpu.torch_device)
        blocks = min(-(-(last - first) // MAKE_ROWS.threads), 16 * card.gpu.processors)
        card.wait()
        card.gpu.launcher.launch(MAKE_ROWS, (blocks, 1), block.data_ptr(), 0)
        card.wait()


class Kept:
    """The last table that was asked for; the one before it is gone first."""

    def __init__(self) -> None:
        self._key: tuple[int, str] | None = None
        self._table: Table | None = None

    def table(self, card: Card, bits: int, label: str) -> Table:
        """The rows of a cell, those of the last cell where they are the same."""
        if self._key != (bits, label) or self._table is None:
            self._key = self._table = None
            self._table = Table(card, bits, label)
            self._key = (bits, label)
        return self._table
