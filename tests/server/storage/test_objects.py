from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from negmine_server.errors import InvalidInput, StorageFailed, StorageFull
from negmine_server.storage.log import Log
from negmine_server.storage.objects import Exists, LocalObjects, Missing, ObjectInfo

SERVER = Path(__file__).parents[3] / "server"


def files_in(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_create_get_list_delete(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path / "data")
    objects.create("a/log/2", b"two")
    objects.create("a/log/1", [b"o", memoryview(b"n"), b"", bytearray(b"e")])
    objects.create("a/logs", b"")
    assert objects.get("a/log/1") == b"one"
    assert objects.list("a/log/") == [ObjectInfo("a/log/1", 3), ObjectInfo("a/log/2", 3)]
    assert [info.key for info in objects.list("a/log")] == ["a/log/1", "a/log/2", "a/logs"]
    assert [info.key for info in objects.list("")] == ["a/log/1", "a/log/2", "a/logs"]
    assert objects.list("b/") == []
    objects.delete(["a/log/1", "a/log/1", "nothing/here"])
    with pytest.raises(Missing):
        objects.get("a/log/1")
    objects.delete(["a/log/2"])
    assert not (tmp_path / "data/a/log").exists(), "an emptied folder goes"
    objects.create("a/log/1", b"again")
    assert objects.get("a/log/1") == b"again"


def test_create_is_put_if_absent_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    objects.create("k", b"first")
    with pytest.raises(Exists):
        objects.create("k", b"second")
    with pytest.raises(Exists):
        LocalObjects(tmp_path).create("k", b"third")
    assert objects.get("k") == b"first"
    assert [name for name in files_in(tmp_path / ".tmp") if name != "lock" and not name.endswith(".claim")] == []


def test_of_many_creates_of_one_key_exactly_one_wins(tmp_path: Path) -> None:
    stores = [LocalObjects(tmp_path) for _ in range(4)]
    for key in ("x/1", "x/2", "x/3"):
        winners: list[bytes] = []
        start = threading.Barrier(8)

        def create(
            index: int, key: str = key, winners: list[bytes] = winners, start: threading.Barrier = start
        ) -> None:
            start.wait()
            try:
                stores[index % 4].create(key, b"%d" % index)
                winners.append(b"%d" % index)
            except Exists:
                pass

        threads = [threading.Thread(target=create, args=(index, key, winners, start)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert winners == [stores[0].get(key)]


def test_more_buffers_than_one_system_call_takes(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    parts = [bytes([index % 256]) * (index % 7) for index in range(3000)] + [b"z" * 5_000_000]
    objects.create("k", parts)
    assert objects.get("k") == b"".join(parts)


@pytest.mark.parametrize("key", ["", "/etc/passwd", "a/../b", "..", "a//b", "a/", ".tmp/x", "a/\0", "./a"])
def test_bad_keys_are_refused(tmp_path: Path, key: str) -> None:
    objects = LocalObjects(tmp_path)
    with pytest.raises(InvalidInput, match="object key"):
        objects.create(key, b"")
    with pytest.raises(InvalidInput, match="object key"):
        objects.get(key)


def test_failures_are_typed_and_name_the_path(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    objects.create("file", b"")
    with pytest.raises(StorageFailed, match="file/below"):
        objects.create("file/below", b"")
    with pytest.raises(StorageFailed, match="n" * 300):
        objects.create("n" * 300, b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageFailed, match="folder"):
        objects.get("folder")
    (tmp_path / "plain").write_bytes(b"")
    with pytest.raises(StorageFailed, match="plain"):
        LocalObjects(tmp_path / "plain")


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from negmine_server.storage.objects import LocalObjects\n"
        "objects = LocalObjects(pathlib.Path(sys.argv[1]))\n"
        "(objects._tmp / 'half-written').write_bytes(b'x' * 1000)\n"
        "print('ready', flush=True); sys.stdin.read()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(SERVER)}
    command = [sys.executable, "-c", script, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environment, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        LocalObjects(tmp_path)
        assert len(list(tmp_path.rglob("half-written"))) == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
        LocalObjects(tmp_path)
        assert list(tmp_path.rglob("half-written")) == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a tmpfs needs root and CAP_SYS_ADMIN")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_storage_full_and_leaves_nothing_half_there(tiny_disk: Path) -> None:
    objects = LocalObjects(tiny_disk)
    objects.create("a/ballast", b"b" * 700_000)
    before = files_in(tiny_disk)
    with pytest.raises(StorageFull, match="a/big"):
        objects.create("a/big", [b"x" * 300_000, b"y" * 300_000])
    assert files_in(tiny_disk) == before
    objects.delete(["a/ballast"])
    objects.create("a/big", b"x" * 600_000)
    assert len(objects.get("a/big")) == 600_000


def test_a_log_survives_a_full_disk(tiny_disk: Path) -> None:
    objects = LocalObjects(tiny_disk)
    log, _ = Log.take_over(objects, "s", after=0, window=4)
    acked = [log.submit([b"small"]).result()]
    objects.create("ballast", b"b" * 800_000)
    futures: list[Future[int]] = []
    with contextlib.suppress(StorageFull):  # the last ones may be refused at once
        futures.extend(log.submit([b"x" * 150_000]) for _ in range(4))
    errors = [future.exception() for future in futures]
    assert isinstance(errors[-1], StorageFull)
    acked += [future.result() for future, error in zip(futures, errors, strict=True) if error is None]
    with pytest.raises(StorageFull):
        log.submit([b"small"])
    objects.delete(["ballast"])
    log, replayed = Log.take_over(objects, "s", after=acked[0], window=4)
    assert [record.sequence for record in replayed] == acked[1:]
    assert log.submit([b"x" * 150_000]).result() == log.next_sequence - 1
