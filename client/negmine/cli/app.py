"""The command line: global options, the commands, and what becomes of errors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

import negmine
from negmine.cli import aliases, collections, compare, generations, inspect, items, mine, server, upsert
from negmine.cli.mistakes import ExitCode, Mistake, one_line
from negmine.cli.session import Session, session_of, write_json

_EPILOG: Final = (
    "Exit codes: 0 done; 1 the server refused, failed or could not be reached; 2 wrong usage or a bad file; "
    "3 done, but not for everything (--fail-starved, --fail-missing).\n\n"
    "Global options may stand before or after the command. Answers go to stdout, everything else to stderr."
)
_FLAGS: Final = {"--json", "--quiet", "-q", "--tls"}
_TLS: Final = "Encryption"
_VALUED: Final = {"--target", "--timeout", "--token", "--tls-ca", "--tls-cert", "--tls-key", "--tls-authority"}

app = typer.Typer(
    name="negmine",
    help="Mines hard negatives: puts embeddings into a negmine server, and gets training sets out.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (collections, upsert, mine, inspect, compare, items, aliases, generations, server):
    group.register(app)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"negmine {negmine.__version__}")
        raise typer.Exit


@app.callback()
def connect(
    context: typer.Context,
    target: Annotated[str, typer.Option(envvar="NEGMINE_TARGET", help="The server, host:port.")] = "localhost:7654",
    timeout: Annotated[float, typer.Option(help="Deadline of every call, in seconds.")] = 30.0,
    token: Annotated[
        str | None, typer.Option(envvar="NEGMINE_TOKEN", show_envvar=True, help="Bearer token.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answers as JSON, for scripts.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes and no progress on stderr.")] = False,
    tls: Annotated[
        bool, typer.Option("--tls", help="Encrypt; trust the system's authorities.", rich_help_panel=_TLS)
    ] = False,
    tls_ca: Annotated[
        Path | None, typer.Option(help="Encrypt; trust the authorities in this PEM file.", rich_help_panel=_TLS)
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="The client's certificate, PEM.", rich_help_panel=_TLS)] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The client's private key, PEM.", rich_help_panel=_TLS)] = None,
    tls_authority: Annotated[
        str | None, typer.Option(help="Name expected in the server's certificate.", rich_help_panel=_TLS)
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Mines hard negatives: puts embeddings into a negmine server, and gets training sets out."""
    del version  # its callback has ended the command
    for path in (tls_ca, tls_cert, tls_key):
        if path is not None and not path.is_file():
            raise Mistake(f"{path} is not a file; expected PEM")
    session = session_of(context)
    session.target, session.timeout_s, session.token = target, timeout, token
    session.as_json, session.quiet = as_json, quiet
    if tls or tls_ca or tls_cert or tls_key or tls_authority:
        session.tls = negmine.TLS(tls_ca, tls_cert, tls_key, tls_authority)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code; a user's mistake or the server's error is one line on stderr."""
    session = Session()
    try:
        app(globals_first(sys.argv[1:] if arguments is None else arguments), prog_name="negmine", obj=session)
    except SystemExit as ended:  # typer's way to end, with its own exit code for wrong usage: 2
        if _was_interrupted(ended):
            return _fail(session, ExitCode.INTERRUPTED, {"code": "INTERRUPTED", "message": "interrupted"})
        return ended.code if isinstance(ended.code, int) else ExitCode.OK
    except Mistake as mistake:
        return _fail(session, ExitCode.USAGE, {"code": "USAGE", "message": str(mistake)})
    except negmine.NegmineError as error:
        described = {"code": error.code, "reason": error.reason, "field": error.field or None}
        usage = isinstance(error, negmine.InvalidInput)
        return _fail(
            session,
            ExitCode.USAGE if usage else ExitCode.FAILED,
            {**described, "message": one_line(error, session.target, session.timeout_s)},
        )
    return ExitCode.OK


def _was_interrupted(ended: BaseException | None) -> bool:
    """Whether typer made an exit of Ctrl-C; its exit code for that depends on its version."""
    while ended is not None and not isinstance(ended, KeyboardInterrupt):
        ended = ended.__context__
    return ended is not None


def globals_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with the global options moved before the command."""
    first: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument in _FLAGS or argument.partition("=")[0] in _VALUED:
            first.append(argument)
            if argument in _VALUED:
                first += [value for value in [next(waiting, None)] if value is not None]
        else:
            rest.append(argument)
    return first + rest


def _fail(session: Session, code: ExitCode, described: dict[str, Any]) -> ExitCode:
    sys.stderr.write(f"negmine: {described['message']}\n")
    if session.as_json and not session.data_on_stdout:
        write_json({"error": described, "exit_code": code})
    return code
