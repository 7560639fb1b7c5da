"""A real server in a process of its own, over a temporary data folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from harness import machine

START_S = 180.0  # the first start of all compiles the kernels
POLL_S = 0.002


class Server:
    """As a context manager: starts on entering, and is gone with its data when the block is left.

    Args:
        flags: of the server.
    """

    def __init__(self, *flags: str) -> None:
        self._flags = flags
        self._folder = Path(tempfile.mkdtemp(prefix="negmine-bench-"))
        self._ports_file = self._folder / "ports.json"
        self._process: subprocess.Popen[bytes] | None = None
        self.target = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> float:
        """Starts it over the data that is there. Returns the seconds until it serves."""
        self._ports_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "negmine_server", "--data-dir", str(self._folder / "data")]
        command += ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--log-level", "warning"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NEGMINE_SERVER_")}
        begin = time.perf_counter()
        self._process = subprocess.Popen(
            [*command, "--ports-file", str(self._ports_file), *self._flags], stdin=subprocess.DEVNULL, env=environment
        )
        while not self._ports_file.exists():
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended with code {self._process.returncode} before it served")
            if time.perf_counter() - begin > START_S:
                self.kill()
                raise RuntimeError(f"the server does not serve after {START_S:.0f} s")
            time.sleep(POLL_S)
        seconds = time.perf_counter() - begin
        self.target = f"127.0.0.1:{json.loads(self._ports_file.read_text())['grpc']}"
        return seconds

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None
        return self._process.pid

    def resident_bytes(self) -> int:
        """Its resident set."""
        return machine.memory_bytes(self.pid, "VmRSS")
