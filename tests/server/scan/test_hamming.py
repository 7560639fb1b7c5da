"""Symmetric scores: the table, and the instructions that the kernel became."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from negmine_server.scan.hamming import cosine_table

CPU_FLAGS = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""


def test_the_cosine_table_falls_strictly() -> None:
    for words in range(1, 65):
        table = cosine_table(64 * words)
        assert (np.diff(table) < 0).all()
        assert table[0] == 1
        assert table[-1] == -1


PROGRAM = """
import numpy as np
from negmine_server.domain import Batch, Metric
from negmine_server.index.rows import Rows
from negmine_server.scan import cpu, hamming, warm
rows = Rows(1)
rows.apply(Batch(ids=np.arange(9), versions=np.zeros(9, np.int64), codes=np.zeros((9, 1), np.uint64)))
cpu.top_r(rows.view, warm.probe(), 3, 64, Metric.COSINE)
kernel = hamming._pass_tile
print(kernel.inspect_asm(kernel.signatures[0]))
"""


@pytest.mark.slow
@pytest.mark.skipif("avx512_bitalg" not in CPU_FLAGS, reason="this CPU counts the bits of bytes without VPOPCNTB")
def test_the_kernel_counts_the_bits_of_sixty_four_rows_at_once(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}  # numba keeps no assembly of cached kernels
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, timeout=110, check=True
    )
    lines = done.stdout.splitlines()
    assert sum("vpopcntb" in line and "zmm" in line for line in lines) >= 80  # 8 bytes of 4 and of 1, in two widths
    assert not any("Spill" in line and "zmm" in line for line in lines)
