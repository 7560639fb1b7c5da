"""A trainer's stream goes on over the death of the real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import negmine
import numpy as np


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """A real server over the folder, on the port; returns at once."""
    command = [sys.executable, "-m", "negmine_server", f"--listen=127.0.0.1:{port}", "--metrics-listen=127.0.0.1:0"]
    command += [f"--data-dir={folder / 'data'}", f"--ports-file={folder / 'ports.json'}"]
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with (folder / "log").open("a") as log:
        return subprocess.Popen(command, stderr=log, env={**os.environ, **path})


def wait_until_serving(folder: Path, server: subprocess.Popen[bytes]) -> int:
    ports = folder / "ports.json"
    while not ports.exists():
        assert server.poll() is None, (folder / "log").read_text()
        time.sleep(0.02)
    return int(json.loads(ports.read_text())["grpc"])


def test_a_server_killed_in_the_middle_loses_no_acked_row_and_applies_none_twice(tmp_path: Path) -> None:
    server = start(tmp_path, 0)
    try:
        port = wait_until_serving(tmp_path, server)
        vectors = np.random.default_rng(0).standard_normal((3000, 16)).astype(np.float32)
        acked: list[int] = []
        with negmine.Client(f"127.0.0.1:{port}", timeout_s=60) as client:
            collection = client.create_collection("c", 16, bits=64)
            with collection.writer(batch_rows=50, window=4, on_ack=lambda result: acked.append(result.rows)) as writer:
                for first in range(0, 3000, 100):
                    rows = slice(first, first + 100)
                    writer.send(np.arange(3000)[rows], vectors[rows], step=first)
                    if first in {800, 2000}:
                        (tmp_path / "ports.json").unlink()
                        server.kill()
                        server.wait()
                        server = start(tmp_path, port)
            result = writer.result
            assert result.rows == 3000
            assert result.overwritten == result.stale == 0
            assert acked == sorted(acked)
            assert collection.info().rows == 3000
            back = collection.fetch(np.arange(3000), min_watermark=result.watermark)
            assert back.found.all()
            assert back.steps.tolist() == [id_ // 100 * 100 for id_ in range(3000)]
    finally:
        server.kill()
        server.wait()
