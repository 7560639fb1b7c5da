"""The tidy rules of this repository: short files and functions, imports that point down, tests that mirror."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
GENERATED = ROOT / "client" / "negmine" / "v1"
FOLDERS = ("client", "server", "tests", "bench", "examples", ".ci")
PACKAGES = {"client": ROOT / "client" / "negmine", "server": ROOT / "server" / "negmine_server"}
COMMAND_LINES = (PACKAGES["client"] / "cli", PACKAGES["server"] / "__main__.py")

FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 60
OBVIOUS_LINES_MAX = 8
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "misc"}
# Spelt in two pieces, so that this file passes its own test.
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")

# The rooms of the server from top to bottom; an import points down, or stays within its room.
ROOMS = (
    ("__main__",),
    ("app",),
    ("settings",),
    ("opening", "rpc", "freeze", "telemetry", "warm_up"),
    ("batcher", "keeper"),
    ("catalog",),
    ("collection",),
    ("explain", "funnel", "gate", "ledger", "placement", "rebalance"),
    ("canary", "ceiling", "picking"),
    ("random_items", "relaxed"),
    ("score_window",),
    ("calibrate", "items", "spec", "options"),
    ("select",),
    ("engine",),
    ("shard",),
    ("committer",),
    ("writers",),
    ("scan",),
    ("device",),
    ("device",),
    ("index", "storage"),
    ("balance", "encode", "vectors"),
    ("hashing",),
    ("metrics",),
    ("domain",),
    ("errors",),
)
RANK = {room: len(ROOMS) - level for level, rooms in enumerate(ROOMS) for room in rooms}
# Tests of a whole room rather than of one of its modules.
OF_A_ROOM = {"tests/server/storage/test_schedules.py"}
READ_SETTINGS = {"__main__", "app", "settings"}


def python_files(*folders: str) -> list[Path]:
    """Our own Python files in the named top folders; the generated ones are left out."""
    found = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return [path for path in found if GENERATED not in path.parents and "build" not in path.relative_to(ROOT).parts]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=relative(path))


def source(*folders: str) -> list[pytest.param]:
    return [pytest.param(path, id=relative(path)) for path in python_files(*folders)]


everywhere = pytest.mark.parametrize("path", source(*FOLDERS))
in_packages = pytest.mark.parametrize("path", source(*PACKAGES))


@everywhere
def test_files_and_functions_are_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= FILE_LINES_MAX, f"{lines} lines: what second idea hides in this file?"
    long = {
        f"{node.name} (line {node.lineno})": size
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (size := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    }
    assert not long, f"functions of more than {FUNCTION_LINES_MAX} lines: {long}"


@everywhere
def test_names_say_what_is_inside(path: Path) -> None:
    vague = VAGUE_NAMES & {part.removesuffix(".py").strip("_") for part in path.relative_to(ROOT).parts}
    assert not vague, f"a name that could hold anything: {vague}"


@everywhere
def test_no_bare_except(path: Path) -> None:
    bare = [node.lineno for node in ast.walk(parse(path)) if isinstance(node, ast.ExceptHandler) and node.type is None]
    assert not bare, f"bare except in lines {bare}: name the exception"


@in_packages
def test_only_command_lines_print(path: Path) -> None:
    if any(path == place or place in path.parents for place in COMMAND_LINES):
        return
    printing = [
        node.lineno
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not printing, f"print in lines {printing}: log, or raise"


def speaks_for_itself(node: ast.stmt) -> bool:
    """A leaf of the error tree or the like, nothing in it but constants; or a function of a few lines."""
    if isinstance(node, ast.ClassDef):
        return all(isinstance(line, ast.Pass | ast.Assign | ast.AnnAssign) for line in node.body)
    return (node.end_lineno or node.lineno) - node.lineno < OBVIOUS_LINES_MAX


def public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node


@in_packages
def test_public_things_are_documented(path: Path) -> None:
    if path.name.startswith("_") and PACKAGES["client"] in path.parents:
        return  # private to the client; what it exports from there is looked at below
    missing = [
        node.name
        for node in public(parse(path).body)
        if ast.get_docstring(node) is None and not speaks_for_itself(node)
    ]
    assert not missing, f"without a docstring: {', '.join(missing)}"


@pytest.mark.parametrize("path", source("client"))
def test_what_the_client_exports_is_documented_to_the_last_method(path: Path) -> None:
    exports = re.findall(
        r'^    "(\w+)",$', (PACKAGES["client"] / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE
    )
    classes = [node for node in public(parse(path).body) if isinstance(node, ast.ClassDef) and node.name in exports]
    missing = [
        f"{node.name}.{inner.name}"
        for node in classes
        for inner in public(node.body)
        if ast.get_docstring(inner) is None
    ]
    assert not missing, f"without a docstring: {', '.join(missing)}"


def imported_rooms(path: Path) -> dict[str, int]:
    """Rooms of the server that a file imports, each with the line."""
    rooms: dict[str, int] = {}
    for node in ast.walk(parse(path)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import; write it in full"
            names = [node.module or ""]
            if node.module == "negmine_server":  # rooms, or constants of the package itself
                rooms_of = {entry.stem for entry in PACKAGES["server"].iterdir()}
                names = [f"negmine_server.{alias.name}" for alias in node.names if alias.name in rooms_of]
        for name in names:
            if name.startswith("negmine_server."):
                rooms.setdefault(name.split(".")[1], node.lineno)
    return rooms


@pytest.mark.parametrize("path", source("server"))
def test_imports_point_down(path: Path) -> None:
    room = path.relative_to(PACKAGES["server"]).parts[0].removesuffix(".py")
    if room == "__init__":
        assert not imported_rooms(path), "the package itself imports none of its rooms"
        return
    assert room in RANK, f"{room} has no place in ROOMS: say where it stands"
    for other, line in imported_rooms(path).items():
        assert other in RANK, f"line {line}: {other} has no place in ROOMS"
        assert other == room or RANK[other] < RANK[room], f"line {line}: {room} imports {other}, which is not below it"
        assert other != "settings" or room in READ_SETTINGS, (
            f"line {line}: only app reads settings, and hands values on"
        )


@pytest.mark.parametrize("path", source("client"))
def test_the_sdk_does_not_know_its_command_line(path: Path) -> None:
    if PACKAGES["client"] / "cli" in path.parents:
        return
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"^\s*(from|import) (negmine\.cli|typer|rich|pyarrow)\b", text, re.MULTILINE)


@pytest.mark.parametrize("path", source("tests/client", "tests/server"))
def test_tests_mirror_the_packages(path: Path) -> None:
    """tests/server/scan/test_cpu.py, or test_cpu_….py, tests server/negmine_server/scan/cpu.py."""
    side, *middle, name = path.relative_to(ROOT / "tests").parts
    if not name.startswith("test_") or relative(path) in OF_A_ROOM:
        return
    folder = PACKAGES[side].joinpath(*middle)
    subject = name.removeprefix("test_").removesuffix(".py")
    entries = folder.glob("*") if folder.is_dir() else ()
    modules = {entry.stem.strip("_") for entry in entries if entry.suffix in {"", ".py"}} - {"init", "pycache"}
    assert any(subject == module or subject.startswith(f"{module}_") for module in modules), (
        f"there is no {subject} in {relative(folder)}"
    )


def test_nothing_is_left_unfinished() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()}")
    marked = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".py", ".proto", ".toml", ".yml", ".yaml", ".md", ".sh", ""} and path.is_file():
            text = path.read_text(encoding="utf-8", errors="ignore")
            marked += [f"{name}:{text[: hit.start()].count(chr(10)) + 1}" for hit in UNFINISHED.finditer(text)]
    assert not marked, f"finish it, or file an issue: {marked}"
