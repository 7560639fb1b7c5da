"""What a client is made of, and the gRPC options that follow from it. Settings pickle; channels do not."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from negmine._exceptions import InvalidInput

Pem: TypeAlias = bytes | str | Path  # the bytes themselves, or the path of a file

MIB: Final = 1 << 20
UNARY_ATTEMPTS_MAX: Final = 5  # gRPC's own cap
# Safe to send twice: the outcome is the same. Creating, dropping and raising the generation are not, and streams are
# resumed by the SDK.
_RETRIED: Final = (
    ("negmine.v1.MiningService", "Mine"),
    ("negmine.v1.IndexService", "Delete"),
    ("negmine.v1.IndexService", "Fetch"),
    ("negmine.v1.CollectionService", "GetCollection"),
    ("negmine.v1.CollectionService", "ListCollections"),
    ("negmine.v1.CollectionService", "SetAlias"),
    ("negmine.v1.CollectionService", "CreateSnapshot"),
    ("negmine.v1.CollectionService", "GetStats"),
    ("negmine.v1.CollectionService", "GetServerInfo"),
)

PORT = 7654  # of a server whose target names none


@dataclass(frozen=True, slots=True)
class TLS:
    """An encrypted connection. Files are read when a channel is opened, so a renewed certificate is picked up.

    Attributes:
        root_certificates: PEM of the authorities trusted; None = the system's.
        certificate: PEM of the client's chain, where the server asks for one.
        key: PEM of the client's private key, with `certificate`.
        authority: name expected in the server's certificate where it is not the target's host.
    """

    root_certificates: Pem | None = None
    certificate: Pem | None = None
    key: Pem | None = field(default=None, repr=False)
    authority: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidInput("TLS has a client certificate or a key alone; expected both or none", field="tls")


@dataclass(frozen=True, slots=True)
class Retry:
    """How calls are repeated that the server could not answer (UNAVAILABLE), with exponential backoff and jitter.

    Attributes:
        attempts_max: tries of a unary call that is safe to repeat, 1 = no retry; gRPC does at most 5.
        resumes_max: reconnections of a stream in a row without any progress.
        backoff_initial_s: wait before the first retry.
        backoff_max_s: longest wait, unless the server advises a longer one.
        backoff_multiplier: growth of the wait from one retry to the next.
    """

    attempts_max: int = 4
    resumes_max: int = 10
    backoff_initial_s: float = 0.1
    backoff_max_s: float = 5.0
    backoff_multiplier: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.attempts_max <= UNARY_ATTEMPTS_MAX:
            raise InvalidInput(
                f"attempts_max is {self.attempts_max}; expected 1 to {UNARY_ATTEMPTS_MAX}", field="retry"
            )
        if self.resumes_max < 0 or self.backoff_initial_s <= 0 or self.backoff_multiplier < 1:
            raise InvalidInput(
                f"{self} is out of range; expected resumes_max >= 0, backoff_initial_s > 0, backoff_multiplier >= 1",
                field="retry",
            )

    def delay_s(self, failures: int, advice_s: float | None = None) -> float:
        """Seconds to wait after `failures` failures in a row: a random part of the backoff, at least the advice."""
        exponent = min(failures - 1, 63)  # far beyond any backoff_max_s
        bound = min(self.backoff_max_s, self.backoff_initial_s * self.backoff_multiplier**exponent)
        return max(advice_s or 0.0, bound * random.uniform(0.5, 1.0))  # noqa: S311 — spreads retries, hides nothing


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a client is; two clients of equal settings behave the same."""

    target: str
    timeout_s: float
    tls: TLS | None
    metadata: tuple[tuple[str, str], ...] = field(repr=False)
    retry: Retry
    message_bytes_max: int

    def __post_init__(self) -> None:
        if not self.target:
            raise InvalidInput("target is empty; expected host:port", field="target")
        if not self.timeout_s > 0:
            raise InvalidInput(f"timeout_s is {self.timeout_s}; expected more than 0", field="timeout_s")
        if self.message_bytes_max < MIB:
            raise InvalidInput(
                f"message_bytes_max is {self.message_bytes_max}; expected at least {MIB}", field="message_bytes_max"
            )


def channel_options(settings: Settings) -> list[tuple[str, int | str]]:
    """gRPC channel arguments: limits both ways, retries, keepalive, and reconnecting within seconds."""
    options: list[tuple[str, int | str]] = [
        ("grpc.max_send_message_length", settings.message_bytes_max),
        ("grpc.max_receive_message_length", settings.message_bytes_max),
        # gRPC commits a call, and so never retries it, once its messages exceed this; the default is 256 KiB.
        ("grpc.per_rpc_retry_buffer_size", settings.message_bytes_max),
        ("grpc.enable_retries", int(settings.retry.attempts_max > 1)),
        ("grpc.service_config", json.dumps(_service_config(settings.retry))),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # A restarted server is found again within seconds; the defaults are 1 s growing to 120 s.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # One connection a client: a process with several does not share their flow control.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if settings.tls is not None and settings.tls.authority is not None:
        options.append(("grpc.ssl_target_name_override", settings.tls.authority))
    return options


def _service_config(retry: Retry) -> dict[str, object]:
    if retry.attempts_max == 1:  # gRPC takes no policy of one attempt
        return {}
    policy = {
        "maxAttempts": retry.attempts_max,
        "initialBackoff": f"{retry.backoff_initial_s:.3f}s",
        "maxBackoff": f"{retry.backoff_max_s:.3f}s",
        "backoffMultiplier": retry.backoff_multiplier,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    names = [{"service": service, "method": method} for service, method in _RETRIED]
    return {
        "methodConfig": [{"name": names, "retryPolicy": policy}],
        # A server in trouble is not flooded with retries: they stop when about half of the calls fail.
        "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5},
    }


def read_pem(pem: Pem | None) -> bytes | None:
    """The bytes of a PEM that is given as such or as a file."""
    return pem if pem is None or isinstance(pem, bytes) else Path(pem).read_bytes()


def make_settings(
    target: str,
    timeout_s: float,
    tls: TLS | None,
    token: str | None,
    metadata: Mapping[str, str] | None,
    retry: Retry | None,
    message_bytes_max: int,
) -> Settings:
    """Settings from the arguments of a client."""
    pairs = [(key.lower(), value) for key, value in (metadata or {}).items()]
    if token is not None:
        pairs.append(("authorization", f"Bearer {token}"))
    if target and ":" not in target:
        target = f"{target}:{PORT}"  # gRPC would take 443
    return Settings(target, timeout_s, tls, tuple(pairs), retry or Retry(), message_bytes_max)
