"""The outbox against a model of the server, over any sequence of breaks."""

from __future__ import annotations

import negmine
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from negmine import _upserts
from negmine.v1 import index_pb2, types_pb2


def outbox(window: int = 4, resumes_max: int = 1000) -> _upserts.Outbox:
    retry = negmine.Retry(resumes_max=resumes_max)
    return _upserts.Outbox(_upserts.Plan("alias", window=window), retry, 1 << 20)


def ready(window: int = 16, rows: int = 100) -> index_pb2.UpsertResponse:
    return index_pb2.UpsertResponse(
        ready=index_pb2.UpsertReady(window=window, batch_rows_max=rows, collection="concrete")
    )


def ack(number: int, inserted: int = 0, sequence: int = 1, **more: object) -> index_pb2.UpsertResponse:
    mark = types_pb2.Watermark(incarnation="i", epoch=1, sequences=[sequence])
    return index_pb2.UpsertResponse(
        ack=index_pb2.UpsertAck(number=number, inserted=inserted, watermark=mark, **more)  # type: ignore[arg-type]
    )


class Model:
    """What a server does with numbered batches: applies each once, in order, and acks it when asked."""

    def __init__(self) -> None:
        self.last = 0
        self.applied: list[int] = []
        self.arrived: list[int] = []  # on this connection, not acked

    def receive(self, number: int) -> None:
        assert not self.arrived or number == self.arrived[-1] + 1  # in order, without a gap
        assert number <= self.last + len(self.arrived) + 1
        self.arrived.append(number)

    def answer(self) -> index_pb2.UpsertResponse:
        number = self.arrived.pop(0)
        if number <= self.last:
            return ack(number, duplicate=True)
        self.last = number
        self.applied.append(number)
        return ack(number, inserted=1)


@given(st.lists(st.sampled_from(["put", "send", "ack", "apply", "break"]), max_size=120), st.integers(1, 5))
def test_any_schedule_applies_each_batch_once_and_in_order(actions: list[str], window: int) -> None:
    box, server = outbox(window), Model()
    box.start()
    box.receive(ready())
    put = sent = acked = 0
    for action in [*actions, *["send", "ack"] * 10]:
        if action == "put" and not box.full:
            box.put(index_pb2.UpsertRequest(), 1)
            put += 1
        elif action == "send" and (following := box.after(sent)) is not None:
            server.receive(following.number)
            sent = following.number
        elif action == "ack" and server.arrived:
            assert box.receive(server.answer())
            acked += 1
        elif action == "apply" and server.arrived:  # durable, but the ack is lost with the connection
            server.answer()
            server.arrived.clear()
        elif action != "break" or not put:
            continue
        if action in {"apply", "break"}:
            assert box.fail(negmine.Unavailable("cut")) > 0
            assert box.after(0) is None  # nothing is sent before the server is ready
            assert box.start().start.collection == "concrete"
            box.receive(ready())
            server.arrived.clear()
            sent = 0
        assert box.waiting == put - acked <= window
    assert server.applied == list(range(1, server.last + 1))
    assert box.result.rows == acked
    assert box.result.inserted + box.result.duplicate == acked


def test_results_add_up_and_watermarks_merge() -> None:
    box = outbox()
    box.start()
    box.receive(ready())
    for _ in range(2):
        box.put(index_pb2.UpsertRequest(), 10)
    box.receive(ack(1, inserted=4, overwritten=3, stale=3, sequence=5))
    box.receive(ack(2, inserted=1, sequence=4))  # a retried batch of which only one row was new
    assert box.result == negmine.UpsertResult(5, 3, 3, 9, negmine.Watermark("i", 1, (5,)))
    assert box.result.rows == 20


def test_failures_count_only_in_a_row() -> None:
    box = outbox(resumes_max=2)
    for _ in range(3):
        box.start()
        box.receive(ready())
        box.put(index_pb2.UpsertRequest(), 1)
        box.receive(ack(box.after(0).number))  # type: ignore[union-attr]
        box.fail(negmine.Unavailable("cut"))
        box.fail(negmine.Unavailable("cut"))
    with pytest.raises(negmine.Unavailable):
        box.fail(negmine.Unavailable("cut"))


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (negmine.Unavailable(""), True),
        (negmine.Overloaded(""), True),
        (negmine.StorageFailed(""), True),
        (negmine.Aborted(""), True),
        (negmine.ResourceExhausted("", retry_after_s=0.1), True),
        (negmine.StorageFull(""), False),
        (negmine.DeviceFull(""), False),
        (negmine.InvalidInput(""), False),
        (negmine.NotFound(""), False),
        (negmine.Internal(""), False),
        (negmine.DataLoss(""), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_errors_that_pass_are_tried_again(error: negmine.NegmineError, again: bool) -> None:
    box = outbox()
    if again:
        assert box.fail(error) > 0
        return
    with pytest.raises(type(error)) as caught:
        box.fail(error)
    assert caught.value.progress is not None


@given(st.integers(1, 3000), st.integers(1, 4096), st.none() | st.integers(1, 500), st.integers(1, 1000))
def test_batches_cover_the_rows_within_the_limits(
    count: int, dimension: int, batch_rows: int | None, rows_max: int
) -> None:
    box = _upserts.Outbox(_upserts.Plan("c", batch_rows=batch_rows), negmine.Retry(), 1 << 20)
    box.start()
    box.receive(ready(rows=rows_max))
    vectors = np.broadcast_to(np.float32(1), (count, dimension))
    held = _upserts.items(np.arange(count), vectors, 0, None, None, None, None)
    cuts = list(box.cut(held))
    assert [cut.start for cut in cuts] == [0, *[cut.stop for cut in cuts[:-1]]]
    assert cuts[-1].stop == count
    assert max(cut.stop - cut.start for cut in cuts) <= min(batch_rows or rows_max, rows_max)
    assert held.request(cuts[0]).batch.ByteSize() <= 1 << 20
