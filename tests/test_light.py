"""The light stays light: `import negmine` brings grpc, google.protobuf and numpy, and nothing else from outside.

Shown twice: in the environment at hand, where everything heavy is installed and must stay unimported, and in fresh
environments with nothing but the client, at its pinned versions and at the oldest ones that it declares.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LIGHT_MODULES = {"cython_runtime", "google", "grpc", "grpc_status", "negmine", "numpy", "typing_extensions"}
ADOPTED_BY_GRPC = {"grpc_health", "grpc_reflection", "grpc_tools"}  # `import grpc` takes these in where they are there
LIGHT_DISTS = {
    "googleapis-common-protos",
    "grpcio",
    "grpcio-status",
    "negmine",
    "numpy",
    "protobuf",
    "typing-extensions",
}

# Imports the client with all generated modules, then lists what came from outside the standard library.
LIST_IMPORTS = """
import sys
before = set(sys.modules)
import importlib, json, pkgutil, negmine, negmine.bounds, negmine.epoch, negmine.v1
for module in pkgutil.iter_modules(negmine.v1.__path__):
    importlib.import_module(f"negmine.v1.{module.name}")
tops = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(tops - set(sys.stdlib_module_names))))
"""


def imported(python: str | Path) -> set[str]:
    done = subprocess.run([python, "-I", "-c", LIST_IMPORTS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    # Modules with a leading underscore are compiled parts of the others.
    return {name for name in json.loads(done.stdout) if not name.startswith("_")}


def pip(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_import_is_light_where_everything_is_installed() -> None:
    assert imported(sys.executable) <= LIGHT_MODULES | ADOPTED_BY_GRPC


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where pip reaches no package at all, so that a failing installation below is ours."""
    folder = tmp_path_factory.mktemp("registry")
    reached = pip(Path(sys.executable), "download", "--quiet", "--no-deps", "--dest", str(folder), "hatchling")
    if reached.returncode:
        pytest.skip(f"pip cannot install here: {reached.stderr.strip().splitlines()[-1]}")


def oldest() -> list[str]:
    """The client's dependencies at their declared floors."""
    return [re.sub(r">=([\d.]+).*", r"==\1", need) for need in PROJECT["dependencies"]]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("age", ["pinned", "oldest"])
def test_a_fresh_environment_holds_the_client_alone(age: str, tmp_path: Path) -> None:
    if age == "oldest" and sys.version_info >= (3, 12):
        pytest.skip("the oldest versions have no wheels for this Python")
    venv.create(tmp_path, with_pip=True, symlinks=True)
    python = tmp_path / "bin" / "python"
    versions = ["--constraint", str(ROOT / "constraints.txt")] if age == "pinned" else oldest()
    done = pip(python, "install", "--quiet", "--only-binary=grpcio,numpy,protobuf", *versions, str(ROOT / "client"))
    assert done.returncode == 0, done.stderr

    listed = {
        dist["name"].lower().replace("_", "-") for dist in json.loads(pip(python, "list", "--format=json").stdout)
    }
    assert listed - {"pip", "setuptools"} <= LIGHT_DISTS
    assert imported(python) <= LIGHT_MODULES

    command = subprocess.run([tmp_path / "bin" / "negmine", "--help"], capture_output=True, text=True, timeout=60)
    assert command.returncode != 0
    assert "negmine[cli]" in command.stderr
    assert "Traceback" not in command.stderr
