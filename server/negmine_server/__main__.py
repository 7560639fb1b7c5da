"""The negmine-server command."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from negmine_server import VERSION
from negmine_server.app import App, StartError
from negmine_server.errors import NegmineError
from negmine_server.settings import Settings, SettingsError, load

EXIT_FAILED = 1
EXIT_USAGE = 2


def main(arguments: list[str] | None = None) -> int:
    """Runs the server until SIGTERM or SIGINT. Returns the exit code: 0 stopped, 1 cannot start, 2 wrong settings."""
    given = sys.argv[1:] if arguments is None else arguments
    if given == ["--version"]:
        sys.stdout.write(f"negmine-server {VERSION}\n")
        return 0
    try:
        settings = load(given)
    except SettingsError as error:
        sys.stderr.write(f"negmine-server: {error}\n")
        return EXIT_USAGE
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        asyncio.run(_serve(settings))
    except (StartError, NegmineError) as error:
        sys.stderr.write(f"negmine-server: {error}\n")
        return EXIT_FAILED
    return 0


async def _serve(settings: Settings) -> None:
    app = App(settings)
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, app.ask_to_stop)
    await app.start()
    await app.stopped()
    await app.stop()


if __name__ == "__main__":
    sys.exit(main())
