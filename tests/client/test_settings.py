"""Retries and limits as gRPC reads them."""

from __future__ import annotations

import json

import negmine
import pytest
from hypothesis import given
from hypothesis import strategies as st
from negmine import v1
from negmine._settings import _RETRIED, channel_options, make_settings


def options(retry: negmine.Retry | None = None) -> dict[str, int | str]:
    return dict(channel_options(make_settings("a:1", 30, None, None, None, retry, 1 << 22)))


def test_limits_hold_both_ways_and_for_repeating() -> None:
    made = options()
    assert made["grpc.max_send_message_length"] == made["grpc.max_receive_message_length"] == 1 << 22
    assert made["grpc.per_rpc_retry_buffer_size"] == 1 << 22


def test_repeated_methods_exist_and_are_unary() -> None:
    from negmine.v1 import collection_pb2, index_pb2, mining_pb2

    services = {
        descriptor.full_name: descriptor
        for module in (collection_pb2, index_pb2, mining_pb2)
        for descriptor in module.DESCRIPTOR.services_by_name.values()
    }
    for service, name in _RETRIED:
        method = services[service].methods_by_name[name]
        assert not method.client_streaming
        assert not method.server_streaming
    assert v1.__doc__


def test_one_attempt_is_no_retry_at_all() -> None:
    assert options(negmine.Retry(attempts_max=1))["grpc.enable_retries"] == 0
    config = json.loads(str(options()["grpc.service_config"]))
    assert config["methodConfig"][0]["retryPolicy"]["maxAttempts"] == 4


@given(st.integers(1, 500), st.none() | st.floats(0, 100))
def test_waits_grow_to_a_bound_and_honour_advice(failures: int, advice_s: float | None) -> None:
    retry = negmine.Retry()
    delay = retry.delay_s(failures, advice_s)
    assert delay >= (advice_s or 0)
    assert delay <= max(advice_s or 0, retry.backoff_max_s, 0)
    assert delay >= min(retry.backoff_max_s, 0.1 * 2.0 ** min(failures - 1, 10)) / 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"attempts_max": 0},
        {"attempts_max": 6},
        {"resumes_max": -1},
        {"backoff_initial_s": 0},
        {"backoff_multiplier": 0.5},
    ],
)
def test_retries_out_of_range_are_refused(arguments: dict) -> None:
    with pytest.raises(negmine.InvalidInput, match="expected"):
        negmine.Retry(**arguments)


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(negmine.InvalidInput, match="certificate or a key alone"):
        negmine.TLS(certificate=b"x")
    assert "secret" not in repr(negmine.TLS(certificate=b"x", key=b"secret"))


def test_a_host_alone_means_the_usual_port() -> None:
    with negmine.Client("example.invalid") as client:
        assert client.settings.target == "example.invalid:7654"
