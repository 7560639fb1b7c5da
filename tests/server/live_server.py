"""A real server in a process of its own, on free ports."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

from live_wire import Wire

START_S = 60
STOP_S = 30
_SERVING = re.compile(r"serving on port (\d+), metrics on port (\d+)")


class LiveServer:
    """`python -m negmine_server` on a data folder; starts and ends any number of times."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        self.data_dir = data_dir
        self.flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        self.lines: list[str] = []
        self.port = self.metrics_port = 0
        self.process: subprocess.Popen[str] | None = None
        self._told = threading.Event()

    def start(self) -> LiveServer:
        """Starts it and waits until it serves."""
        self._told.clear()
        command = [sys.executable, "-m", "negmine_server", f"--data-dir={self.data_dir}"]
        command += ["--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0", *self.flags]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        assert self._told.wait(START_S), f"not serving after {START_S} s:\n" + "".join(self.lines)
        assert self.process.poll() is None, "the server ended:\n" + "".join(self.lines)
        return self

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_S)

    def restart(self) -> LiveServer:
        """Stops it in an orderly way and starts it again."""
        assert self.stop() == 0
        return self.start()

    def wire(self) -> Wire:
        """Raw stubs on a channel of their own."""
        return Wire(self.port)

    def metrics(self) -> str:
        """What /metrics says."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as reply:
            return str(reply.read().decode())

    def metric(self, name: str) -> float:
        """One number of /metrics, of a metric without labels."""
        return next(float(line.split()[1]) for line in self.metrics().splitlines() if line.startswith(f"{name} "))

    def __enter__(self) -> LiveServer:
        return self.start()

    def __exit__(self, *_: Any) -> None:
        self.kill()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.lines.append(line)
            if found := _SERVING.search(line):
                self.port, self.metrics_port = map(int, found.groups())
                self._told.set()
        self._told.set()
