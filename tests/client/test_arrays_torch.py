"""Torch tensors in, torch tensors out."""

from __future__ import annotations

import negmine
import numpy as np
import pytest
from fault_server import FaultServer
from fault_wire import read
from negmine import _arrays
from negmine.v1 import types_pb2

torch = pytest.importorskip("torch", reason="torch is not installed")


@pytest.mark.parametrize(
    ("dtype", "wire"),
    [
        ("float32", types_pb2.DATA_TYPE_FLOAT32),
        ("float16", types_pb2.DATA_TYPE_FLOAT16),
        ("bfloat16", types_pb2.DATA_TYPE_BFLOAT16),
        ("float64", types_pb2.DATA_TYPE_FLOAT32),
    ],
)
@pytest.mark.parametrize("layout", ["plain", "transposed", "strided"])
def test_floats_are_sent_in_their_own_type(dtype: str, wire: int, layout: str) -> None:
    held = torch.randn(8, 6).to(getattr(torch, dtype)).requires_grad_()
    view = {"plain": held, "transposed": held.T, "strided": held[::2, 1:4]}[layout]
    made = _arrays.to_embeddings(view, "embeddings")
    assert made.wire_type == wire
    np.testing.assert_array_equal(read(made.tensor()), view.detach().float().numpy())


def test_integer_tensors_are_no_embeddings() -> None:
    with pytest.raises(negmine.InvalidInput, match="embeddings has dtype int64"):
        _arrays.to_embeddings(torch.ones(2, 3, dtype=torch.int64), "embeddings")


def test_brain_floats_are_no_ids() -> None:
    with pytest.raises(negmine.InvalidInput, match="expected integers"):
        _arrays.to_ids(torch.ones(2, dtype=torch.bfloat16), "ids")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_answers_to_tensors_are_tensors(dtype: str, faulty: FaultServer, client: negmine.Client) -> None:
    collection = client.collection("c")
    ids, vectors = torch.arange(10), torch.randn(10, 4).to(getattr(torch, dtype))
    assert collection.upsert(ids, vectors, groups=torch.zeros(10, dtype=torch.int32)).inserted == 10
    found = collection.mine(vectors[:3], k=2, own_ids=ids[:3], positives=torch.tensor([[4], [5], [-1]]))
    assert found.ids.dtype == torch.int64
    assert found.scores.dtype == torch.float32
    assert found.ids.device == vectors.device
    assert found.standard_errors is None
    same = collection.mine(vectors[:3].float().numpy(), k=2, own_ids=[0, 1, 2], positives=[[4], [5], []])
    assert isinstance(same.ids, np.ndarray)
    np.testing.assert_array_equal(found.ids.numpy(), same.ids)


def test_answers_follow_the_device() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    held = torch.randn(2, 3, device="cuda")
    assert _arrays.to_device(np.arange(3), _arrays.device_of(held)).device == held.device
