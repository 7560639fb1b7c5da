"""A real server as a child process: killed at any instant, drained, or watched while it fails to start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

START_S = 90.0  # a cold cache compiles the kernels
POLL_S = 0.01


class ServerProcess:
    """One server over `folder/data`; after its first start it keeps its port, so that clients find it again.

    Args:
        folder: existing; gets the data, the log output and the ports file.
        flags: of the server, beside those that say where it lives.
    """

    def __init__(self, folder: Path, *flags: str) -> None:
        self.data = folder / "data"
        self._flags = flags
        self._output = folder / "server.log"
        self._ports_file = folder / "ports.json"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = self._metrics_port = 0

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything that it has logged, over all its lives."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def spawn(self, *flags: str) -> None:
        """Starts it without waiting for anything."""
        assert self._process is None, "one life at a time"
        self._ports_file.unlink(missing_ok=True)
        places = ["--data-dir", str(self.data), "--metrics-listen", "127.0.0.1:0"]
        places += ["--ports-file", str(self._ports_file), "--listen", self.target]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NEGMINE_SERVER_")}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "negmine_server", *places, *self._flags, *flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    @property
    def serving(self) -> bool:
        """Whether it has come to serve; fails if it has ended instead."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the server ended with code {self._process.returncode}:\n{self.output}")
        return self._ports_file.exists()

    def start(self, *flags: str) -> None:
        """Starts it and waits until it serves."""
        self.spawn(*flags)
        deadline = time.monotonic() + START_S
        while not self.serving:
            assert time.monotonic() < deadline, f"not serving after {START_S:.0f} s:\n{self.output}"
            time.sleep(POLL_S)
        ports = json.loads(self._ports_file.read_text())
        self.port, self._metrics_port = ports["grpc"], ports["metrics"]

    def metrics(self) -> str:
        """The page that Prometheus reads."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=10) as page:
            return page.read().decode()

    def kill(self) -> None:
        """SIGKILL: no time to write anything down. Nothing happens where no server runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        assert self._process is not None
        self._process.terminate()

    def wait(self, timeout_s: float = START_S) -> int:
        """Waits for it to end by itself, and returns its exit code."""
        assert self._process is not None
        code = self._process.wait(timeout_s)
        self._process = None
        return code
