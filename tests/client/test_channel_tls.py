"""Encrypted connections: the server's certificate is checked, the client's is sent."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import negmine
import pytest
from fault_server import FaultServer

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")
ONCE = negmine.Retry(attempts_max=1)


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, and a certificate of it for each side: the server is `negmine.test`."""
    folder = tmp_path_factory.mktemp("tls")
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    openssl(*new, "-subj", "/CN=authority", "-keyout", ca_key, "-out", ca)
    for name in ("server", "client"):
        openssl(
            *new, "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:negmine.test", "-CA", ca, "-CAkey", ca_key,
            "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem",
        )  # fmt: skip
    return folder


@pytest.fixture
def serve(certificates: Path) -> Iterator[Callable[[bool], FaultServer]]:
    servers: list[FaultServer] = []

    def start(ask: bool) -> FaultServer:
        pair = (certificates / "server.key").read_bytes(), (certificates / "server.pem").read_bytes()
        root = (certificates / "ca.pem").read_bytes() if ask else None
        servers.append(FaultServer(grpc.ssl_server_credentials([pair], root, require_client_auth=ask)))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_a_certificate_of_the_authority_is_trusted(serve: Callable[[bool], FaultServer], certificates: Path) -> None:
    tls = negmine.TLS(root_certificates=certificates / "ca.pem", authority="negmine.test")
    with negmine.Client(serve(False).target, tls=tls, token="t") as client:
        assert client.server_info().version == "0"


@pytest.mark.parametrize("wrong", ["authority", "root", "plain"])
def test_another_certificate_is_not(wrong: str, serve: Callable[[bool], FaultServer], certificates: Path) -> None:
    tls: negmine.TLS | None = negmine.TLS(
        root_certificates=None if wrong == "root" else certificates / "ca.pem",
        authority="other.test" if wrong == "authority" else "negmine.test",
    )
    target = serve(False).target
    with (
        negmine.Client(target, tls=None if wrong == "plain" else tls, retry=ONCE) as client,
        pytest.raises(negmine.Unavailable),
    ):
        client.server_info()


def test_the_clients_certificate_is_sent(serve: Callable[[bool], FaultServer], certificates: Path) -> None:
    target = serve(True).target
    root = (certificates / "ca.pem").read_bytes()
    own = negmine.TLS(root, certificates / "client.pem", str(certificates / "client.key"), "negmine.test")
    with negmine.Client(target, tls=own) as client:
        assert client.server_info().version == "0"
    with (
        negmine.Client(target, tls=negmine.TLS(root, authority="negmine.test"), retry=ONCE) as client,
        pytest.raises(negmine.Unavailable),
    ):
        client.server_info()


async def test_the_asyncio_client_encrypts_too(serve: Callable[[bool], FaultServer], certificates: Path) -> None:
    tls = negmine.TLS(certificates / "ca.pem", authority="negmine.test")
    async with negmine.AsyncClient(serve(False).target, tls=tls) as client:
        assert (await client.server_info()).version == "0"


def test_a_file_that_is_not_there_is_said_so(certificates: Path) -> None:
    with (
        negmine.Client("127.0.0.1:1", tls=negmine.TLS(certificates / "missing.pem")) as client,
        pytest.raises(FileNotFoundError, match=r"missing\.pem"),
    ):
        client.server_info()
