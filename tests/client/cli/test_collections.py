from __future__ import annotations

import time
from collections.abc import Callable

import negmine
import numpy as np
import pytest
from command_line import Ran


@pytest.fixture
def name(live: negmine.Client, request: pytest.FixtureRequest) -> str:
    """The name of a collection that does not exist yet."""
    return f"cli-{abs(hash(request.node.nodeid)):x}"[:60]


def test_create_with_every_setting(cli: Callable[..., Ran], live: negmine.Client, name: str) -> None:
    settings = "--dimension 24 --bits 192 --metric inner_product --vectors int8 --seed 5 --shards 4 --recall-target 0.5"
    made = cli("create", name, *settings.split(), "--estimate-mean-rows", 100, "--json")
    assert made.code == 0
    assert made.err == ""
    info = live.get(name)
    assert (info.dimension, info.bits, info.metric, info.vectors) == (24, 192, "inner_product", "int8")
    assert (info.seed, info.shards, info.recall_target) == (5, 4, 0.5)
    assert info.estimate_mean == negmine.EstimateMean(100)
    assert made.json["name"] == name
    assert made.json["estimate_mean"] == {"rows": 100}


def test_create_again(cli: Callable[..., Ran], name: str) -> None:
    assert cli("create", name, "--dimension", 8).code == 0
    again = cli("create", name, "--dimension", 8)
    assert (again.code, again.complaint) == (1, f"negmine: {name!r} is a collection already")
    assert cli("create", name, "--dimension", 8, "--exist-ok").code == 0
    other = cli("create", name, "--dimension", 9, "--bits", 64, "--recall-target", 0.5, "--exist-ok")
    assert other.code == 1
    assert other.complaint.startswith(
        f"negmine: {name!r} is a collection already, with other settings: --dimension is 8, not 9, "
        "--bits is 256, not 64, --recall-target is "
    )
    assert other.complaint.endswith(", not 0.5")


def test_an_alias_is_no_collection_with_other_settings(
    cli: Callable[..., Ran], fresh: negmine.Collection, live: negmine.Client, name: str
) -> None:
    live.set_alias(name, fresh.name)
    again = cli("create", name, "--dimension", 8, "--exist-ok")
    assert (again.code, again.complaint) == (1, f"negmine: {name!r} is an alias already")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a b", "--dimension", 8), "name is 'a b'"),
        (("x", "--dimension", 0), "negmine: --dimension is 0"),
        (("x", "--dimension", 8, "--bits", 100), "negmine: --bits is 100; expected a multiple of 64"),
        (("x", "--dimension", 8, "--shards", 3), "negmine: --shards is 3"),
        (("x", "--dimension", 8, "--recall-target", 2), "negmine: --recall-target is 2.0"),
    ],
)
def test_settings_that_the_server_refuses(cli: Callable[..., Ran], arguments: tuple[object, ...], said: str) -> None:
    ran = cli("create", *arguments)
    assert ran.code == 2
    assert said in ran.complaint


def test_list_names_aliases(cli: Callable[..., Ran], fresh: negmine.Collection, live: negmine.Client) -> None:
    live.set_alias(f"{fresh.name}-live", fresh.name)
    listed = cli("list", "--json").json
    assert fresh.name in [info["name"] for info in listed["collections"]]
    assert listed["aliases"][f"{fresh.name}-live"] == fresh.name
    (line,) = (line for line in cli("list").out.splitlines() if line.startswith(fresh.name))
    assert "serving" in line


def test_stats_and_snapshot(cli: Callable[..., Ran], fresh: negmine.Collection, vectors) -> None:
    fresh.upsert(range(200), vectors, step=4)
    stats = cli("stats", fresh.name, "--json").json
    assert stats["collection"]["rows"] == 200
    assert sum(shard["rows"] for shard in stats["shards"]) == 200
    shown = cli("stats", fresh.name).out
    assert "step 4 of generation 0" in shown
    assert "none: every search looks at all rows" in shown
    assert "rows in a bucket" not in shown
    assert cli("snapshot", fresh.name, "--json").json["rows"] == 200
    assert "200" in cli("snapshot", fresh.name).out


def test_stats_of_buckets(cli: Callable[..., Ran], fresh: negmine.Collection) -> None:
    rows = np.random.default_rng(3).standard_normal((20_000, 16), dtype=np.float32)
    fresh.upsert(np.arange(20_000), rows)
    deadline = time.monotonic() + 60
    while len(fresh.stats().bucket_rows) == 1 or fresh.stats().loose_rows:
        assert time.monotonic() < deadline, fresh.stats()
        time.sleep(0.05)
    stats = cli("stats", fresh.name, "--json").json
    assert sum(sum(shard["bucket_rows"]) for shard in stats["shards"]) == 20_000
    lines = {line.split("  ")[0]: line for line in cli("stats", fresh.name).out.splitlines()}
    assert f"{fresh.stats().loose_rows:,}, in no bucket yet" in lines["loose rows"]
    assert lines["measured recall"].rstrip().endswith(", target 0.95")
    bars = [line for line in cli("stats", fresh.name).out.splitlines() if line.endswith("#")]
    counts = [int(line.split("  ")[-2].replace(",", "")) for line in bars]
    assert sum(counts) == len(stats["shards"][0]["bucket_rows"])


def test_drop_asks_or_wants_yes(cli: Callable[..., Ran], fresh: negmine.Collection, live: negmine.Client) -> None:
    refused = cli("drop", fresh.name)
    assert (refused.code, refused.complaint) == (
        2,
        f"negmine: {fresh.name} has 0 rows, and nobody is there to be asked; add --yes to drop it",
    )
    live.set_alias(f"{fresh.name}-live", fresh.name)
    assert cli("drop", fresh.name, "--yes").code == 1
    live.drop_alias(f"{fresh.name}-live")
    assert cli("drop", fresh.name, "--yes", "--json").json == {"dropped": fresh.name, "rows": 0}
    gone = cli("stats", fresh.name)
    assert gone.code == 1
    assert f"no collection or alias {fresh.name!r}; `negmine list`" in gone.complaint
