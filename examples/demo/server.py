"""A real negmine server as a child process: on free ports, killed or drained at will, never left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START_S = 180.0  # the first start of all compiles the kernels
DRAIN_S = 20.0
POLL_S = 0.02
LOG_LINES = 20
ENV_PREFIX = "NEGMINE_SERVER_"


class ServerFailed(Exception):
    """The server did not start, or did not end, as it should."""


class Server:
    """One server with its data in `folder`; as a context manager it is gone when the block is left.

    Args:
        folder: existing; gets the data, the log and the ports file.
        hold: a block that no signal breaks, around the moments in which a child is born or buried.
    """

    def __init__(self, folder: Path, hold: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self._data = folder / "data"
        self._log = folder / "server.log"
        self._ports_file = folder / "ports.json"
        self._hold = hold
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def target(self) -> str:
        """Where a client connects."""
        return f"127.0.0.1:{self._ports['grpc']}"

    @property
    def metrics_url(self) -> str:
        """The page that Prometheus reads."""
        return f"http://127.0.0.1:{self._ports['metrics']}/metrics"

    @property
    def pid(self) -> int:
        """Of the running server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> float:
        """Starts it, over the data that is there, and waits until it serves. Returns the seconds that took.

        Raises:
            ServerFailed: it ended at once, or did not serve in time.
        """
        assert self._process is None, "one server at a time"
        self._ports_file.unlink(missing_ok=True)
        begin = time.perf_counter()
        with self._hold(), self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)},
                start_new_session=True,  # a Ctrl-C at the terminal is for us to handle, not for the server
            )
        while not self._ports_file.exists():
            if self._process.poll() is not None:
                raise ServerFailed(f"the server ended with code {self._process.returncode} before it served")
            if time.perf_counter() - begin > START_S:
                raise ServerFailed(f"the server does not serve after {START_S:.0f} s")
            time.sleep(POLL_S)
        self._ports = json.loads(self._ports_file.read_text())
        return time.perf_counter() - begin

    def kill(self) -> None:
        """SIGKILL: no time to write anything down. Nothing happens where no server runs."""
        with self._hold():
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                self._process = None

    def stop(self) -> float:
        """SIGTERM: it finishes what it has begun and ends. Returns the seconds that took.

        Raises:
            ServerFailed: it did not end in time, or with another code than 0.
        """
        assert self._process is not None
        begin = time.perf_counter()
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(DRAIN_S)
        except subprocess.TimeoutExpired:
            raise ServerFailed(f"the server still runs {DRAIN_S:.0f} s after SIGTERM") from None
        self._process = None
        if code:
            raise ServerFailed(f"the server ended with code {code} after SIGTERM; expected 0")
        return time.perf_counter() - begin

    def log_tail(self) -> str:
        """The last lines that it logged."""
        if not self._log.exists():
            return ""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_LINES:])

    def _command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "negmine_server",
            "--data-dir",
            str(self._data),
            "--listen",
            "127.0.0.1:0",
            "--metrics-listen",
            "127.0.0.1:0",
            "--ports-file",
            str(self._ports_file),
        ]
