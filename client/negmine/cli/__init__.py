"""The `negmine` command. Needs the extra `cli`: `pip install 'negmine[cli]'`.

Exit codes: 0 done; 1 the server said no or could not be reached; 2 wrong usage or a bad file; 3 done in part.
"""

from __future__ import annotations

import signal
import sys
from typing import Final

_EXTRA: Final = {"pyarrow", "rich", "typer"}  # what `negmine[cli]` brings


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit, so that unfinished files are removed
    try:
        from negmine.cli.app import run  # noqa: PLC0415 — its imports may be missing, which is said without a traceback

        sys.exit(run())
    except ModuleNotFoundError as missing:
        name = (missing.name or "").partition(".")[0]
        if name not in _EXTRA:
            raise
        sys.stderr.write(f"negmine: the command line needs {name}, which is missing: pip install 'negmine[cli]'\n")
        sys.exit(2)
    except KeyboardInterrupt:  # before there was anything to interrupt
        sys.exit(130)
