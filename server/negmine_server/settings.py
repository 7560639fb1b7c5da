"""Every knob of the server, with its unit, bound and default.

Read, in order of precedence, from flags (`--data-dir`), the environment (`NEGMINE_SERVER_DATA_DIR`) and a TOML file
(`data_dir = "…"`, named by `--config` or NEGMINE_SERVER_CONFIG). An unknown flag, variable or key is an error.
Only `__main__` and `app` read this; rooms below are handed the values they need.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

ENV_PREFIX = "NEGMINE_SERVER_"
CONFIG_VARIABLE = ENV_PREFIX + "CONFIG"


class Settings(BaseSettings):
    """The negmine server: hard-negative mining as a service.

    Each flag is also a variable NEGMINE_SERVER_<NAME> and a key of the TOML file that --config FILE names; a flag comes
    before a variable, a variable before a key.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    data_dir: Path = Field(Path("negmine-data"), description="folder of logs, snapshots and the catalog")
    listen: str = Field("127.0.0.1:7654", description="address of the gRPC server; port 0 = any free one")
    metrics_listen: str = Field("127.0.0.1:9464", description="address of /metrics; port 0 = any free one")
    ports_file: Path | None = Field(None, description="written with the bound ports as JSON once the server serves")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level that is logged")
    reflection: bool = Field(True, description="serve gRPC reflection")
    tls_certificate: Path | None = Field(None, description="PEM certificate chain; serves TLS with tls_key")
    tls_key: Path | None = Field(None, description="PEM private key")

    threads: int = Field(0, ge=0, le=1024, description="threads that scan; 0 = one per core")
    default_shards: int = Field(
        0, ge=0, le=256, description="shards of a new collection; 0 = cores, or devices with cuda, to a power of two"
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="what scans; cuda = GPUs, with the extra `gpu` installed")
    devices: str = Field(
        "", description="numbers of the CUDA devices, like 0,1; empty = all; one named twice serves as two"
    )
    device_memory: float = Field(
        0, ge=0, le=65_536, description="GiB a collection may take on each device; 0 = what is free, less a reserve"
    )
    device_vectors: Literal["device", "host"] = Field(
        "device", description="where stored vectors are rescored from; host = pinned memory, read over the bus"
    )
    mine_workers: int = Field(2, ge=1, le=64, description="batches of Mine calls worked on at once")
    batch_anchors_max: int = Field(
        0, ge=0, le=65_536, description="anchors of Mine calls joined into one scan; 0 = 256, or 1024 with cuda"
    )
    linger_ms: float = Field(2.0, ge=0, le=1000, description="longest wait of a free worker for calls to join")
    queue_anchors_max: int = Field(65_536, ge=1, description="anchors waiting for a worker before UNAVAILABLE")

    message_bytes_max: int = Field(64 << 20, ge=1 << 16, le=1 << 30, description="bytes of one gRPC message")
    anchors_max: int = Field(4096, ge=1, le=65_536, description="anchors in one Mine")
    k_max: int = Field(1024, ge=1, le=8192, description="negatives per anchor")
    pool_max: int = Field(16_384, ge=64, le=16_384, description="candidates per anchor in one pass")
    max_scanned: int = Field(65_536, ge=64, description="candidates looked at per anchor before it is starved")
    positives_max: int = Field(4096, ge=0, description="positives per anchor")
    batch_rows_max: int = Field(65_536, ge=1, description="rows in an upsert batch, ids in a delete or fetch")
    upsert_window: int = Field(16, ge=1, le=256, description="upsert batches of a stream that may wait for acks")
    vectors_in: Literal["memory", "disk"] = Field(
        "memory", description="where stored vectors are served from; disk = files in data_dir, cached in free memory"
    )
    collections_max: int = Field(256, ge=1, description="collections")
    step_ahead_max: int = Field(10_000_000, ge=1, description="steps an upsert may be ahead of the newest")
    bucket_from_rows: int = Field(250_000, ge=1, description="rows from which on a collection has buckets")
    bucket_rows_min: int = Field(1024, ge=1, description="rows aimed at in a bucket; more in a large collection: √rows")
    recall_target: float = Field(0.95, gt=0, le=1, description="recall of the probed scan where nobody names one")
    watermark_wait_s: float = Field(10.0, ge=0, description="longest wait for a watermark without a deadline")

    shard_queue_batches_max: int = Field(256, ge=1, description="upsert batches waiting in a shard before UNAVAILABLE")
    commit_bytes_max: int = Field(4 << 20, ge=1 << 10, description="bytes of one log object")
    log_window: int = Field(8, ge=1, le=64, description="log objects being created at once")
    snapshot_log_bytes: int = Field(
        64 << 20, ge=1 << 16, description="log bytes behind a shard's last snapshot that ask for a new one"
    )
    tombstone_age_s: int = Field(3600, ge=0, description="how long a delete keeps late upserts out")
    writers_max: int = Field(10_000, ge=1, description="writers remembered per shard")
    drain_s: float = Field(5.0, ge=0, le=300, description="longest drain on SIGTERM")

    @field_validator("listen", "metrics_listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:
            raise ValueError("expected HOST:PORT")
        return value

    @field_validator("devices")
    @classmethod
    def _are_numbers(cls, value: str) -> str:
        if value and not all(number.isascii() and number.isdecimal() for number in value.split(",")):
            raise ValueError("expected numbers with commas between, like 0,1")
        return value

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Settings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            given, lacking = ("tls_certificate", "tls_key") if self.tls_key is None else ("tls_key", "tls_certificate")
            raise ValueError(f"{given} needs {lacking}; nothing would be encrypted")
        return self

    @model_validator(mode="after")
    def _devices_are_asked_for(self) -> Settings:
        if self.devices and self.device == "cpu":
            raise ValueError("devices needs device = cuda; nothing would run on them")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags (given as init), then the environment, then the TOML file named by the environment."""
        config = os.environ.get(CONFIG_VARIABLE)
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(config) if config else None)


class SettingsError(Exception):
    """A flag, variable or key is unknown or out of range; the message names it and its value."""


def load(arguments: list[str]) -> Settings:
    """Settings from `arguments`, the environment and the TOML file.

    Raises:
        SettingsError: naming every wrong setting, its value and its source.
    """
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields} | {CONFIG_VARIABLE}
    unknown = sorted(name for name in os.environ if name.upper().startswith(ENV_PREFIX) and name.upper() not in known)
    if unknown:
        raise SettingsError(f"unknown environment variable {', '.join(unknown)}; `negmine-server --help` lists them")
    arguments = _take_config(arguments)
    config = os.environ.get(CONFIG_VARIABLE)
    if config and not Path(config).is_file():
        raise SettingsError(f"config file {config!r} does not exist")
    source: Any = CliSettingsSource(
        Settings, cli_parse_args=arguments, cli_prog_name="negmine-server", cli_kebab_case=True, cli_exit_on_error=True
    )
    try:
        return Settings(**source())
    except ValidationError as error:
        raise SettingsError("; ".join(_problem(item) for item in error.errors())) from None
    except ValueError as error:  # a TOML file that does not parse
        raise SettingsError(f"config file {config!r}: {error}") from None


def _problem(error: Any) -> str:
    """One wrong setting: its name, value and what is expected."""
    name, message = ".".join(map(str, error["loc"])), error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"unknown key {name!r} = {error['input']!r}; `negmine-server --help` lists them"
    return f"{name} = {error['input']!r}: {message}" if name else message


def _take_config(arguments: list[str]) -> list[str]:
    """Takes `--config FILE` out: the file must be known before the other sources are read."""
    rest: list[str] = []
    items = iter(arguments)
    for item in items:
        if item == "--config":
            os.environ[CONFIG_VARIABLE] = next(items, "")
        elif item.startswith("--config="):
            os.environ[CONFIG_VARIABLE] = item.removeprefix("--config=")
        else:
            rest.append(item)
    return rest
