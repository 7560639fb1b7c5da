"""A data folder belongs to one process at a time."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from negmine_server.errors import StorageFailed


def hold(folder: Path) -> IO[str]:
    """Makes the folder if need be, and holds it for as long as the file is open or the process lives.

    Raises:
        StorageFailed: another process holds it, or it cannot be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = (folder / "lock").open("w")
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StorageFailed(f"data folder {str(folder)!r} is held by another server") from None
    except OSError as error:
        raise StorageFailed(f"data folder {str(folder)!r} cannot be used: {error}") from error
    return held
