"""Margins as ceilings: exactly the scores that the definitions drop are above them."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from negmine_server.select.protection import Protection

SCORES = st.floats(-1.5, 1.5, width=32)


@given(positive=SCORES, score=SCORES, margin=st.floats(0, 1))
@example(positive=-0.5, score=-0.55, margin=0.1)
@example(positive=0.5, score=0.5, margin=0.0)
def test_ceilings_are_the_definitions(positive: float, score: float, margin: float) -> None:
    s_plus = np.float32([positive])
    cases = {
        "absolute_margin": score > float(np.float64(positive) - margin),
        "relative_margin": score > float(np.float64(positive) - abs(positive) * margin),
    }
    if margin > 0:
        cases["percent_of_positive"] = score >= positive * (margin if positive >= 0 else 2 - margin)
    for name, dropped in cases.items():
        assert (np.float32(score) > Protection(**{name: margin}).margin_ceilings(s_plus)[0]) == dropped, name


@given(score=SCORES, bound=st.floats(-1.5, 1.5))
def test_bounds_are_met_to_the_last_bit(score: float, bound: float) -> None:
    protection = Protection(max_score=bound, min_score=bound)
    assert (np.float32(score) > protection.max_ceiling) == (score > bound)
    assert (np.float32(score) < protection.floor) == (score < bound)


def test_the_strictest_margin_counts() -> None:
    protection = Protection(absolute_margin=0.1, relative_margin=0.5, percent_of_positive=0.9)
    assert protection.needs_positive
    ceilings = protection.margin_ceilings(np.float32([0.8, -0.8]))
    assert ceilings[0] == np.float32(0.4)
    np.testing.assert_allclose(ceilings[1], -1.2, rtol=1e-6)
    assert not Protection(max_score=1).needs_positive
    assert np.isinf(Protection().margin_ceilings(np.float32([0.5]))).all()
