"""The keyword arguments of mining, declared once for every method that takes them."""

from __future__ import annotations

from typing import Any, TypedDict

from negmine._models import FillName, PriorityName, ScoringName
from negmine._policies import Policy, Protection
from negmine._results import Watermark


class MineOptions(TypedDict, total=False):
    """Keyword arguments of `mine`; arrays may be numpy arrays, torch tensors or lists. B is the number of anchors.

    A search need not look at all rows, nor find all of the exact answer: the top of the exact scan of the codes or,
    where candidates are rescored, of the stored vectors themselves. `recall_target` is the share of it that is found,
    averaged over queries. What that takes (buckets probed, candidates rescored) the server learns from live queries
    that it answers exactly too; so the same call may get another answer later. Until it has learnt, every bucket is
    looked at and 16 candidates are rescored for each that is wanted. An anchor that would be left with too few looks at
    all buckets.

    Attributes:
        own_ids: int [B], the anchor's own id in the collection, never returned; -1 = it has none.
        positives: ids never returned, in one of four forms: a list of B lists of ids; a tuple (offsets [B + 1],
            ids [offsets[B]]) of arrays; an array [B, p] padded with -1; an array [B], -1 = none.
        groups: int [B], the anchor's group (label, class, document); -1 = none.
        exclude_same_group: never return an item of the anchor's group; True unless set.
        positive_scores: float [B], the positive's score where the caller knows it; NaN = computed by the server.
        require_tags: one mask or [B]: an item must carry all of these tags.
        forbid_tags: one mask or [B]: an item must carry none of these tags.
        min_step: lowest model step that may be returned; or
        max_staleness_steps: how many steps behind the collection's newest.
        protection: false-negative protection by score.
        policy: how the k are picked; Top() unless set.
        scoring: "auto", "symmetric", "asymmetric" or "float".
        exact: look at all rows' codes, and rescore as many candidates as when nothing was learnt (or `pool`): the same
            answer each time while the rows are the same; or
        recall_target: share of the exact answer to be found, in (0, 1]; 1 = as `exact`; the collection's unless set.
            With scoring "float" all rows are looked at whatever it is.
        rescore: on stored vectors; where the collection keeps them, unless set.
        pool: candidates per anchor before filters, which are rescored; 0 = chosen by the server.
        max_scanned: most candidates looked at per anchor before it is given up as starved; 0 = the server's setting.
        fill: what fills the places of anchors that have fewer than k left, after them and counted in `fills`:
            "nothing"; "random", items of the collection that pass everything but min_score and the policy; "relaxed",
            in this order, the least hard of each first, but for the first: items below min_score, the hardest of them
            first; candidates that the policy passed over; items above the margins and max_score, which may be
            positives.
        seed: of every random choice: with `exact`, same seed and same state of the index, same answer.
        min_watermark: wait until the collection has reached it (read your writes).
        priority: "step" where a training step waits, "bulk" where nobody does.
        return_versions: fill `steps` and `generations`.
        return_embeddings: fill `embeddings`.
        return_weights: fill `weights`, where the policy defines them.
        timeout_s: deadline of this call; the client's unless set.
    """

    own_ids: Any
    positives: Any
    groups: Any
    exclude_same_group: bool
    positive_scores: Any
    require_tags: Any
    forbid_tags: Any
    min_step: int
    max_staleness_steps: int
    protection: Protection
    policy: Policy
    scoring: ScoringName
    exact: bool
    recall_target: float
    rescore: bool
    pool: int
    max_scanned: int
    fill: FillName
    seed: int
    min_watermark: Watermark
    priority: PriorityName
    return_versions: bool
    return_embeddings: bool
    return_weights: bool
    timeout_s: float


class MineArgs(MineOptions):
    """One whole `mine` call, as `mine_stream` and `Prefetcher` take it.

    Attributes:
        anchors: embeddings [B, d] or Codes.
        k: negatives wanted per anchor.
    """

    anchors: Any
    k: int
