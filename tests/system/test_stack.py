"""docker-compose.yml as operators run it: image, health, a Mine through the published port, a scrape, a restart.

Uses the container engine that DOCKER_HOST names, and skips without one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from urllib.request import urlopen

import docker
import negmine
import numpy as np
import pytest
from docker.errors import DockerException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
FILES = ("docker-compose.yml", "tests/system/compose.override.yml")
ROWS, DIMENSION = 500, 64

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Stack:
    """A running Compose project and the engine that it runs on."""

    engine: docker.DockerClient
    command: tuple[str, ...]
    project: str

    def compose(self, *arguments: str) -> None:
        # Port 0 publishes on any free one, so that the test meets no other stack.
        environment = os.environ | {"GRPC_PORT": "0", "METRICS_PORT": "0", "PROMETHEUS_PORT": "0"}
        files = [word for name in FILES for word in ("--file", name)]
        done = subprocess.run(
            [*self.command, "--project-name", self.project, *files, *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"compose {' '.join(arguments)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"

    def container(self, service: str) -> Any:
        labels = [f"com.docker.compose.project={self.project}", f"com.docker.compose.service={service}"]
        (found,) = self.engine.containers.list(all=True, filters={"label": labels})
        return found

    def address(self, service: str, port: int) -> str:
        """Where the port of a service is published on this host."""
        (binding,) = self.container(service).ports[f"{port}/tcp"]
        return f"127.0.0.1:{binding['HostPort']}"

    def wait_healthy(self) -> None:
        def healthy() -> bool:
            return self.container("negmine").attrs["State"]["Health"]["Status"] == "healthy"

        wait_until(healthy, 120, lambda: self.container("negmine").logs().decode()[-3000:])

    def prometheus(self, path: str) -> dict[str, Any]:
        """The data that Prometheus answers with."""
        with urlopen(f"http://{self.address('prometheus', 9090)}/api/v1/{path}", timeout=10) as reply:
            return json.load(reply)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples that Prometheus gives for an expression."""
        return self.prometheus(f"query?query={quote(expression)}")["result"]


def wait_until(condition: Callable[[], bool], seconds: float, explain: Callable[[], str]) -> None:
    """Ask again and again, since neither an engine nor Prometheus can be waited on; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
            problem = ""
        except OSError as error:  # not listening yet
            problem = str(error)
        assert time.monotonic() < deadline, f"not within {seconds} s {problem}\n{explain()}"
        time.sleep(0.3)


def compose_command() -> tuple[str, ...]:
    if shutil.which("docker") and not subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        return ("docker", "compose")
    if shutil.which("docker-compose"):
        return ("docker-compose",)
    pytest.skip("neither `docker compose` nor docker-compose is installed")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    if not os.environ.get("DOCKER_HOST"):
        pytest.skip("DOCKER_HOST names no container engine")
    try:
        engine = docker.from_env(timeout=300)
        engine.ping()
    except DockerException as error:
        pytest.skip(f"no container engine at {os.environ['DOCKER_HOST']}: {error}")
    running = Stack(engine, compose_command(), f"negmine-test-{os.getpid()}")
    running.compose("build")
    try:
        running.compose("up", "--detach")
        running.wait_healthy()
        yield running
    finally:
        running.compose("down", "--volumes", "--timeout", "5")
        engine.close()


def test_the_stack_mines_is_scraped_and_keeps_its_data(stack: Stack) -> None:
    vectors = np.random.default_rng(7).standard_normal((ROWS, DIMENSION), dtype=np.float32)
    ids = np.arange(ROWS, dtype=np.int64)

    with negmine.Client(stack.address("negmine", 7654)) as client:
        collection = client.create_collection("items", dimension=DIMENSION, bits=128)
        collection.upsert(ids, vectors, step=1)
        before = collection.mine(vectors[:8], k=5, own_ids=ids[:8])
    assert (before.counts == 5).all()

    wait_until(
        lambda: bool(stack.query("negmine_build_info")), 60, lambda: stack.container("prometheus").logs().decode()
    )
    (up,) = stack.query('up{job="negmine"}')
    assert up["value"][1] == "1"

    stack.compose("stop", "negmine")
    state = stack.container("negmine").attrs["State"]
    assert state["ExitCode"] == 0, stack.container("negmine").logs().decode()[-3000:]

    stack.compose("rm", "--force", "negmine")  # a new container, the same volume
    stack.compose("up", "--detach")
    stack.wait_healthy()
    with negmine.Client(stack.address("negmine", 7654)) as client:
        after = client.collection("items").mine(vectors[:8], k=5, own_ids=ids[:8])
    np.testing.assert_array_equal(after.ids, before.ids)
    np.testing.assert_array_equal(after.scores, before.scores)


def test_alerts_are_evaluated_and_fire_when_they_should(stack: Stack) -> None:
    with negmine.Client(stack.address("negmine", 7654)) as client:
        client.create_collection("alerts", dimension=DIMENSION, recall_target=0.9)
    wait_until(
        lambda: bool(stack.query('negmine_measured_recall{collection="alerts"} > negmine_recall_target')),
        60,
        lambda: stack.container("prometheus").logs().decode(),
    )

    def rules() -> list[dict[str, Any]]:
        return [rule for group in stack.prometheus("rules")["groups"] for rule in group["rules"]]

    def evaluated() -> bool:
        return bool(rules()) and all(rule["health"] == "ok" for rule in rules())

    wait_until(evaluated, 60, lambda: json.dumps(rules()))
    assert "NegmineRecallBelowTarget" in {rule["name"] for rule in rules()}
    exit_code, told = stack.container("prometheus").exec_run(
        ["promtool", "test", "rules", "/etc/prometheus/tests/alerts.yml"]
    )
    assert exit_code == 0, told.decode()


def test_the_server_runs_without_privileges(stack: Stack) -> None:
    config = stack.container("negmine").attrs["Config"]
    assert config["User"] == "negmine"
    exit_code, owner = stack.container("negmine").exec_run(["stat", "--format=%U", "/var/lib/negmine"])
    assert (exit_code, owner.decode().strip()) == (0, "negmine")
