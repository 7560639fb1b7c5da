"""What became of each anchor's nearest items in a Mine: the same filters over a scan that leaves nothing out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from negmine.encoder import Encoder

from negmine_server.domain import F32, I32, I64, NO_GROUP, NO_ID, STEP_MAX, U64, Bool, Scoring
from negmine_server.encode import Anchors, encode
from negmine_server.engine.interface import Engine
from negmine_server.options import MineOptions
from negmine_server.score_window import ScoreWindow

_COLUMNS = frozenset({"groups", "tags"})


class Verdict(IntEnum):
    """What became of an item, in the order in which it is decided; numbers as in mining.proto."""

    NONE = 0  # no item
    PICKED = 1
    OWN_ID = 2
    POSITIVE = 3
    GROUP = 4
    TAGS = 5
    AGE = 6
    MARGIN = 7  # above the margins' ceiling, or above the policy's band
    MAX_SCORE = 8
    MIN_SCORE = 9  # below it, or below the policy's band
    NOT_PICKED = 10  # the policy took others, the search did not come across it, or its anchor has no s+


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """The R nearest items of B anchors, by score descending and id ascending."""

    ids: I64  # [B, R], NO_ID = none
    scores: F32  # [B, R], NaN where there is none
    verdicts: I32  # [B, R]
    groups: I64  # [B, R], NO_GROUP = none


def explain(
    anchors: Anchors, options: MineOptions, encoder: Encoder, engine: Engine, picked: I64, positive_scores: F32, r: int
) -> Explained:
    """Looks at the r nearest items of B anchors, where a Mine of `options` answered `picked` [B, w] and s+ [B].

    Scores are of the kind that the Mine has: where it rescores candidates, every stored vector is looked at.
    """
    scoring = Scoring.FLOAT if options.rescore else options.scoring
    encoded = encode(anchors, encoder, scoring, with_vectors=False)
    found = engine.search(encoded.query, r, rescore=False)
    window = ScoreWindow(scoring, False, encoder, encoded.offsets)
    there = found.ids != NO_ID
    scores = np.where(there, window.final(found.scores, np.arange(anchors.rows)), np.float32(np.nan))
    unique, places = np.unique(found.ids, return_inverse=True)
    places = places.reshape(found.ids.shape)
    groups, tags = _columns(engine, unique)
    groups, tags = groups[places], tags[places]
    picks = np.arange(anchors.rows).repeat(picked.shape[1])
    owners = np.arange(anchors.rows).repeat(np.diff(options.positive_offsets))
    bounds = options.exclusions(positive_scores)
    asked, barred = options.require_tags[:, None], options.forbid_tags[:, None]
    verdicts = np.select(
        [
            ~there,
            _named(unique, places, picks, picked.reshape(-1)),
            found.ids == options.own_ids[:, None],
            _named(unique, places, owners, options.positive_ids),
            (groups == options.groups[:, None]) & (groups != NO_GROUP),
            ((tags & asked) != asked) | ((tags & barred) != 0),
            (found.versions & STEP_MAX) < options.min_steps[:, None],
            scores > bounds.margin_ceilings[:, None],
            scores > bounds.max_ceiling,
            scores < bounds.floors[:, None],
        ],
        list(Verdict)[:-1],
        Verdict.NOT_PICKED,
    )
    return Explained(found.ids, scores.astype(np.float32), verdicts.astype(np.int32), groups)


def _columns(engine: Engine, ids: I64) -> tuple[I64, U64]:
    """Groups and tags [n] of ids [n]; those that are gone by now have none."""
    groups, tags = np.full(len(ids), NO_GROUP, np.int64), np.zeros(len(ids), np.uint64)
    wanted = np.flatnonzero(ids != NO_ID)
    found, columns = engine.fetch(ids[wanted], _COLUMNS)
    for values, name in ((groups, "groups"), (tags, "tags")):
        if name in columns:
            values[wanted[found]] = columns[name]
    return groups, tags


def _named(unique: I64, places: I64, owners: I64, ids: I64) -> Bool:
    """Which items unique[places] [B, R] are among the pairs of an anchor `owners` [m] and an id [m]."""
    at = np.minimum(np.searchsorted(unique, ids), len(unique) - 1)
    known = unique[at] == ids
    keys = np.arange(len(places))[:, None] * len(unique) + places
    named: Bool = np.isin(keys, owners[known] * len(unique) + at[known])
    return named
