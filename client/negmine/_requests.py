"""One mine call as requests within the limits of a message and of the server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from negmine import _arrays
from negmine._arrays import Embeddings
from negmine._calls import Call, watermark
from negmine._encoding import Codes
from negmine._exceptions import InvalidInput, TooLarge, Unimplemented
from negmine._models import ServerInfo
from negmine._options import MineArgs
from negmine._policies import policy_message, policy_names, pool_of, protection_message
from negmine._ragged import Ragged, ragged
from negmine._scalars import choice, share, unsigned
from negmine.encoder import DIMENSION_MAX
from negmine.v1 import mining_pb2, types_pb2

_SCORINGS: Final[dict[str, int]] = {
    "auto": types_pb2.SCORING_UNSPECIFIED,
    "symmetric": types_pb2.SCORING_SYMMETRIC,
    "asymmetric": types_pb2.SCORING_ASYMMETRIC,
    "float": types_pb2.SCORING_FLOAT,
}
_FILLS: Final[dict[str, int]] = {
    "nothing": mining_pb2.FILL_NOTHING,
    "random": mining_pb2.FILL_RANDOM,
    "relaxed": mining_pb2.FILL_RELAXED,
}
_PRIORITIES: Final[dict[str, int]] = {"step": mining_pb2.PRIORITY_STEP, "bulk": mining_pb2.PRIORITY_BULK}
_ENVELOPE_BYTES: Final = 64 * 1024  # names, protection, policy, watermark; timings and drop counts in a reply
_MISSING_BYTES: Final = 24  # of one missing positive in a reply
_KNOWN: Final = MineArgs.__optional_keys__ | MineArgs.__required_keys__


@dataclass(frozen=True, slots=True, eq=False)
class MinePlan:
    """A mine call, checked and converted, before it is cut into parts.

    Attributes:
        base: the request without what belongs to single anchors.
        anchors: embeddings or codes [B].
        rows: arrays [B] by the request's field.
        positives: ids of positives, where given.
        k: negatives wanted per anchor.
        device: of the answer's torch tensors; None = numpy.
        timeout_s: deadline of each part; None = the client's.
        reply_row_bytes: bytes of an anchor's answer.
        needs: features that the server must have.
    """

    base: mining_pb2.MineRequest
    anchors: Embeddings | Codes
    rows: dict[str, NDArray[Any]]
    positives: Ragged | None
    device: Any | None
    timeout_s: float | None
    reply_row_bytes: int
    needs: tuple[str, ...]

    def parts(self, server: ServerInfo) -> list[slice]:
        """Runs of anchors, each within the server's anchors and a message both ways.

        Raises:
            TooLarge: one anchor alone is beyond a message.
            Unimplemented: the server does not serve what is asked; an older one would not know that it was asked.
        """
        for feature in self.needs:
            if feature not in server.features:
                kind = feature.partition(".")[0]
                others = ", ".join(sorted(name for name in server.features if name.startswith(kind + ".")))
                raise Unimplemented(
                    f"the server (version {server.version}) does not serve {feature}; it serves {others or 'none'}",
                    field=kind,
                )
        limits = server.limits
        count = len(self.anchors)
        budget = limits.message_bytes_max - _ENVELOPE_BYTES
        positives = np.zeros(count, np.int64) if self.positives is None else np.diff(self.positives.offsets)
        sent = self._row_bytes() + 8 * positives
        answered = self.reply_row_bytes + _MISSING_BYTES * positives
        ends = np.cumsum(np.maximum(sent, answered))
        cuts, first = [], 0
        while first < count:
            spent = ends[first - 1] if first else 0
            last = int(np.searchsorted(ends, spent + budget, side="right"))
            if last == first:
                raise TooLarge(
                    f"anchor {first} takes {ends[first] - spent} bytes with its positives and its answer; expected at "
                    f"most {budget}: ask for a smaller k, or raise message_bytes_max",
                    field="anchors",
                )
            last = min(last, first + (limits.anchors_max or count), count)
            cuts.append(slice(first, last))
            first = last
        return cuts or [slice(0, 0)]  # no anchors are a call as well: the server checks the rest

    def call(self, rows: slice) -> Call[mining_pb2.MineResponse]:
        """The call for one run of anchors."""
        request = mining_pb2.MineRequest()
        request.CopyFrom(self.base)
        part = self.anchors[rows]
        if isinstance(part, Codes):
            request.codes.CopyFrom(codes_message(part))
        else:
            part.fill(request.embeddings)
        for field, values in self.rows.items():
            getattr(request, field).CopyFrom(_arrays.tensor(values[rows] if len(values) > 1 else values))
        if self.positives is not None:
            request.positives.CopyFrom(self.positives[rows].message())
        return Call("mining", "Mine", request, lambda reply: reply)

    def _row_bytes(self) -> int:
        anchors = self.anchors
        held = anchors.words.shape[1] * 8 + 8 if isinstance(anchors, Codes) else anchors.row_bytes
        return held + 8 * (1 + len(self.rows))


def plan(collection: str, args: MineArgs) -> MinePlan:
    """Checks and converts the arguments of one mine call.

    Raises:
        InvalidInput: a shape, type or name is wrong.
        TypeError: an argument is unknown.
    """
    unknown = sorted(set(args) - _KNOWN)
    if unknown:
        raise TypeError(f"unknown arguments {', '.join(unknown)}; expected some of {', '.join(sorted(_KNOWN))}")
    missing = sorted(MineArgs.__required_keys__ - set(args))
    if missing:
        raise TypeError(f"missing arguments {', '.join(missing)}")
    given = args["anchors"]
    anchors = given if isinstance(given, Codes) else _arrays.to_embeddings(given, "anchors")
    count = len(anchors)
    # What is None is as if it were not given, so that callers may pass on what they have.
    options: dict[str, Any] = {name: value for name, value in args.items() if value is not None}
    k = unsigned(options.pop("k", None), "k")
    positives = options.get("positives")
    return MinePlan(
        base=_base(collection, k, options),
        anchors=anchors,
        rows=_rows(options, count),
        positives=None if positives is None else ragged(positives, count),
        device=_arrays.device_of(given),
        timeout_s=options.get("timeout_s"),
        reply_row_bytes=_reply_row_bytes(anchors, k, options),
        needs=tuple(_needs(options)),
    )


def _needs(options: dict[str, Any]) -> Iterator[str]:
    if "policy" in options:
        yield from (f"policy.{name}" for name in policy_names(options["policy"]))
    if "protection" in options:
        yield from (f"protection.{field.name}" for field, _ in protection_message(options["protection"]).ListFields())
    for name, plain in (("scoring", "auto"), ("fill", "nothing")):
        if options.get(name, plain) != plain:
            yield f"{name}.{options[name]}"


def _base(collection: str, k: int, options: dict[str, Any]) -> mining_pb2.MineRequest:
    for one, other in (("min_step", "max_staleness_steps"), ("exact", "recall_target")):
        if one in options and other in options:
            raise InvalidInput(f"{one} and {other} are both given; expected one of them", field=other)
    request = mining_pb2.MineRequest(
        collection=collection,
        k=k,
        scoring=choice(options.get("scoring", "auto"), _SCORINGS, "scoring"),  # type: ignore[arg-type]
        fill=choice(options.get("fill", "nothing"), _FILLS, "fill"),  # type: ignore[arg-type]
        priority=choice(options.get("priority", "step"), _PRIORITIES, "priority"),  # type: ignore[arg-type]
        seed=unsigned(options.get("seed", 0), "seed", bits=64),
        pool=unsigned(options.get("pool", 0), "pool"),
        max_scanned=unsigned(options.get("max_scanned", 0), "max_scanned"),
        min_watermark=watermark(options.get("min_watermark")),
    )
    for name in ("min_step", "max_staleness_steps"):
        if name in options:
            setattr(request, name, unsigned(options[name], name, bits=64))
    for name in ("exclude_same_group", "exact", "rescore", "return_versions", "return_embeddings", "return_weights"):
        if name in options:
            setattr(request, name, bool(options[name]))
    if "recall_target" in options:
        request.recall_target = share(options["recall_target"], "recall_target")
    if "protection" in options:
        request.protection.CopyFrom(protection_message(options["protection"]))
    if "policy" in options:
        request.policy.CopyFrom(policy_message(options["policy"]))
    return request


def _rows(options: dict[str, Any], count: int) -> dict[str, NDArray[Any]]:
    rows: dict[str, NDArray[Any]] = {}
    for name in ("own_ids", "groups"):
        if name in options:
            rows[name] = _arrays.to_ids(options[name], name, count)
    if "positive_scores" in options:
        rows["positive_scores"] = _arrays.to_floats(options["positive_scores"], "positive_scores", count)
    for name in ("require_tags", "forbid_tags"):
        if name in options:
            rows[name] = _arrays.to_tags(options[name], name, count)
    return rows


def _reply_row_bytes(anchors: Embeddings | Codes, k: int, options: dict[str, Any]) -> int:
    wide = max(k, pool_of(options["policy"])) if "policy" in options else k
    dimension = DIMENSION_MAX if isinstance(anchors, Codes) else anchors.dimension
    vectors = 4 * dimension if options.get("return_embeddings") else 0
    return 16 + wide * (8 + 4 + 4 + 8 + 8 + 4 + vectors)


def codes_message(codes: Codes) -> types_pb2.Codes:
    """Codes as they travel."""
    return types_pb2.Codes(
        fingerprint=codes.fingerprint,
        codes=_arrays.tensor(codes.words),
        corrections=_arrays.tensor(codes.corrections),
        norms=_arrays.tensor(codes.norms),
    )
