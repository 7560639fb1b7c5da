"""The blocking client against a server that misbehaves."""

from __future__ import annotations

import pickle
import time
from collections import deque

import grpc
import negmine
import pytest
from conftest import PATIENT
from fault_server import FaultServer
from fault_wire import status


def unavailable(times: int) -> deque:
    return deque([status(grpc.StatusCode.UNAVAILABLE, "not now")] * times)


def test_calls_safe_to_repeat_are_repeated(faulty: FaultServer, client: negmine.Client) -> None:
    faulty.faults.fail["GetServerInfo"] = unavailable(3)
    assert client.server_info().version == "0"
    assert faulty.store.calls["GetServerInfo"] == 4


def test_repeating_ends(faulty: FaultServer, client: negmine.Client) -> None:
    faulty.faults.fail["GetServerInfo"] = unavailable(10)
    with pytest.raises(negmine.Unavailable, match="not now"):
        client.server_info()
    assert faulty.store.calls["GetServerInfo"] == PATIENT.attempts_max


def test_calls_that_do_something_each_time_are_made_once(faulty: FaultServer, client: negmine.Client) -> None:
    faulty.faults.fail["StartGeneration"] = unavailable(1)
    with pytest.raises(negmine.Unavailable):
        client.collection("c").start_generation()
    assert faulty.store.calls["StartGeneration"] == 1


def test_large_calls_are_repeated_too(faulty: FaultServer, client: negmine.Client) -> None:
    import numpy as np

    faulty.faults.fail["Mine"] = unavailable(1)
    anchors = np.ones((2000, 512), np.float32)  # 4 MB, where gRPC's own limit for repeating is 256 KiB
    assert len(client.collection("c").mine(anchors, k=1)) == 2000
    assert faulty.store.calls["Mine"] == 2


def test_a_late_answer_is_a_deadline(faulty: FaultServer, client: negmine.Client) -> None:
    faulty.hold()
    began = time.monotonic()
    with pytest.raises(negmine.DeadlineExceeded):
        client.collection("c").mine([[1.0, 2.0]], k=1, timeout_s=0.2)
    assert 0.2 <= time.monotonic() - began < 5


def test_a_connection_that_breaks_is_opened_again(faulty: FaultServer, client: negmine.Client) -> None:
    client.server_info()
    faulty.cut()
    assert client.server_info().version == "0"


def test_nobody_there_is_unavailable() -> None:
    with negmine.Client("127.0.0.1:1", retry=PATIENT) as client, pytest.raises(negmine.Unavailable):
        client.server_info()


def test_waiting_for_a_server_ends_with_its_deadline() -> None:
    with negmine.Client("127.0.0.1:1") as client, pytest.raises(negmine.DeadlineExceeded):
        client.wait_until_ready(0.2)


def test_tokens_and_metadata_are_sent(faulty: FaultServer) -> None:
    with negmine.Client(faulty.target, token="secret", metadata={"X-Team": "a"}) as client:
        client.server_info()
        assert faulty.store.metadata["authorization"] == "Bearer secret"
        assert faulty.store.metadata["x-team"] == "a"
        assert "secret" not in repr(client) + repr(client.settings)


def test_a_closed_client_says_so(faulty: FaultServer) -> None:
    client = negmine.Client(faulty.target)
    client.server_info()
    client.close()
    client.close()
    with pytest.raises(negmine.ClientClosed, match="create another"):
        client.server_info()
    with pytest.raises(negmine.ClientClosed):
        client.collection("c").upsert([1], [[1.0]])


def test_making_a_client_opens_nothing() -> None:
    client = negmine.Client("nowhere.invalid:1")
    assert client._connections._by_process == {}
    assert repr(client.collection("c")) == "Collection('c', Client('nowhere.invalid:1'))"


def test_clients_and_collections_pickle_as_their_settings(faulty: FaultServer) -> None:
    with negmine.Client(faulty.target, timeout_s=3, retry=PATIENT, token="t", tls=None) as client:
        client.server_info()
        collection = pickle.loads(pickle.dumps(client.collection("c")))
        assert collection._client.settings == client.settings
        assert collection._client._connections._by_process == {}
        with collection._client as other:
            assert other.server_info().version == "0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": ""}, "target is empty"),
        ({"timeout_s": 0}, "timeout_s is 0; expected more than 0"),
        ({"message_bytes_max": 1000}, "message_bytes_max is 1000; expected at least 1048576"),
    ],
)
def test_settings_out_of_range_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(negmine.InvalidInput, match=message):
        negmine.Client(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dimension": 0.5}, "dimension is 0.5; expected an integer"),
        ({"metric": "euclidean"}, "metric is 'euclidean'; expected one of cosine, inner_product"),
        ({"vectors": "int4"}, "vectors is 'int4'"),
        ({"mean": [1.0]}, r"mean has shape \(1,\); expected \[8\]"),
        ({"mean": negmine.EstimateMean(-1)}, "mean.rows is -1"),
        ({"recall_target": 1.5}, "recall_target is 1.5"),
    ],
)
def test_collections_that_the_wire_cannot_describe_are_refused(arguments: dict, message: str) -> None:
    client = negmine.Client("nowhere.invalid:1")
    with pytest.raises(negmine.InvalidInput, match=message):
        client.create_collection("c", **{"dimension": 8, **arguments})
