from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import negmine
import pytest
from command_line import COMMAND, Ran
from negmine.cli.app import globals_first


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (["stats", "w", "--json"], ["--json", "stats", "w"]),
        (["stats", "--target", "h:1", "w"], ["--target", "h:1", "stats", "w"]),
        (["stats", "w", "--timeout=3", "-q"], ["--timeout=3", "-q", "stats", "w"]),
        (["stats", "w", "--target"], ["--target", "stats", "w"]),
        (["stats", "--", "--json"], ["stats", "--", "--json"]),
        (["mine", "w", "a", "-k", "3"], ["mine", "w", "a", "-k", "3"]),
    ],
)
def test_global_options_stand_anywhere(given: list[str], made: list[str]) -> None:
    assert globals_first(given) == made


def test_help_names_commands_and_exit_codes(cli: Callable[..., Ran]) -> None:
    ran = cli("--help")
    assert ran.code == 0
    for word in (
        "create",
        "upsert",
        "mine",
        "inspect",
        "compare",
        "fetch",
        "delete",
        "alias",
        "generation",
        "Exit codes",
        "NEGMINE_TARGET",
    ):
        assert word in ran.out


def test_version(cli: Callable[..., Ran]) -> None:
    assert cli("--version").out == f"negmine {negmine.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [("bogus",), ("stats",), ("stats", "a", "b"), ("list", "--bogus"), ("create", "x")]
)
def test_wrong_usage(cli: Callable[..., Ran], arguments: tuple[str, ...]) -> None:
    ran = cli(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert "Usage: negmine" in ran.err


def test_no_server(cli: Callable[..., Ran]) -> None:
    ran = cli("list", "--target", "127.0.0.1:1", "--json")
    assert ran.code == 1
    assert ran.complaint.startswith("negmine: no answer from 127.0.0.1:1: ")
    assert ran.json["error"]["code"] == "UNAVAILABLE"
    assert ran.json["exit_code"] == 1


def test_values_out_of_range(cli: Callable[..., Ran], tmp_path: Path) -> None:
    assert cli("list", "--timeout", "0").complaint == "negmine: timeout_s is 0.0; expected more than 0"
    ran = cli("list", "--tls-ca", tmp_path / "none.pem")
    assert (ran.code, ran.complaint) == (2, f"negmine: {tmp_path}/none.pem is not a file; expected PEM")
    (tmp_path / "cert.pem").write_text("x")
    ran = cli("list", "--tls-cert", tmp_path / "cert.pem")
    assert (ran.code, ran.complaint) == (
        2,
        "negmine: TLS has a client certificate or a key alone; expected both or none",
    )


@pytest.mark.parametrize("missing", ["typer", "rich", "pyarrow"])
def test_a_missing_extra_is_said_without_a_traceback(missing: str) -> None:
    program = textwrap.dedent(
        f"""
        import sys
        sys.modules[{missing!r}] = None  # its import fails as where it is not installed
        from negmine.cli import main
        main()
        """
    )
    done = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"negmine: the command line needs {missing}, which is missing: pip install 'negmine[cli]'\n"


@pytest.mark.parametrize(("sent", "code", "said"), [("SIGINT", 130, "negmine: interrupted\n"), ("SIGTERM", 143, "")])
def test_a_stopped_command_leaves_nothing_behind(
    sent: str, code: int, said: str, target: str, fresh: negmine.Collection, tmp_path: Path
) -> None:
    words = [*COMMAND, "--target", target, "mine", fresh.name, "-", "-o", str(tmp_path / "out.jsonl")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps({"embedding": [1.0] * 16}) + "\n")
        process.stdin.flush()
        while not any(tmp_path.iterdir()):  # the unfinished output, made before the anchors are read
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.Signals[sent])
        assert process.wait(30) == code
        assert process.stderr.read() == said
    assert list(tmp_path.iterdir()) == []


def test_a_reader_of_stdout_that_goes_away(target: str, fresh: negmine.Collection, vectors, tmp_path: Path) -> None:
    fresh.upsert(range(200), vectors)
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps({"embedding": row.tolist()}) + "\n" for row in vectors))
    words = [*COMMAND, "--target", target, "mine", fresh.name, str(path), "-k", "64", "-o", "-"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
