"""A server in this process, on a thread of its own: for what a test must reach into, such as simulated devices."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from live_wire import Wire
from negmine_server.app import App
from negmine_server.settings import Settings

START_S = 120


class InProcess:
    """Starts when entered, and drains when left.

    Args:
        open_devices: opens what stands for CUDA devices.
    """

    def __init__(self, data_dir: Path, open_devices: Callable[[str], list[Any]], **settings: Any) -> None:
        addresses = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0"}
        self._settings = Settings(data_dir=data_dir, **addresses, **settings)
        self._open_devices = open_devices
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="server")
        self._told = threading.Event()
        self._problem: Exception | None = None

    def wire(self) -> Wire:
        """Raw stubs on a channel of their own."""
        return Wire(self._app.grpc_port)

    def __enter__(self) -> InProcess:
        self._thread.start()
        assert self._told.wait(START_S)
        if self._problem is not None:
            raise self._problem
        return self

    def __exit__(self, *_: object) -> None:
        if self._problem is None:
            self._loop.call_soon_threadsafe(self._app.ask_to_stop)
        self._thread.join(START_S)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._app = App(self._settings, self._open_devices)
        try:
            await self._app.start()
        except Exception as error:  # noqa: BLE001 (raised again where it is entered)
            self._problem = error
            return
        finally:
            self._told.set()
        await self._app.stopped()
        await self._app.stop()
