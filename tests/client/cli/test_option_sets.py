from __future__ import annotations

import negmine
import pytest
from negmine.cli.mistakes import Mistake
from negmine.cli.option_sets import option_set


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"policy": negmine.Top()}),
        ("policy=softmax beta=20", {"policy": negmine.Softmax(20.0)}),
        ("range-min=5", {"policy": negmine.Window(5, 9)}),
        ("policy=softmax pool=99", {"policy": negmine.Softmax(pool=99), "pool": 0}),
        ("policy=top pool=99", {"policy": negmine.Top(), "pool": 99}),
        (
            "policy=mixed random_share=0.5 hard=dss pool=9 nearest=2",
            {"policy": negmine.Mixed(0.5, negmine.Dss(9, 2)), "pool": 0},
        ),
        (
            "policy=mixed random_share=0.5 range_max=9",
            {"policy": negmine.Mixed(0.5, negmine.Window(0, 9))},
        ),
        (
            "policy=window range_min=2 range_max=30 sampling_strategy=random seed=7",
            {"policy": negmine.Window(2, 30, "random"), "seed": 7},
        ),
        (
            "percent_of_positive=0.9 max_score=1",
            {"protection": negmine.Protection(percent_of_positive=0.9, max_score=1.0)},
        ),
        ("allow_same_group=yes fill=random", {"exclude_same_group": False, "fill": "random"}),
        ("exact=true rescore=no scoring=float", {"exact": True, "rescore": False, "scoring": "float"}),
    ],
)
def test_a_text_is_a_way_to_mine(text: str, expected: dict[str, object]) -> None:
    options = option_set(text, "--a", 4).options
    assert {name: options[name] for name in expected} == expected  # type: ignore[literal-required]


def test_defaults_give_way() -> None:
    assert option_set("", "--a", 4, allow_same_group=True, seed=3).options["exclude_same_group"] is False
    way = option_set("allow_same_group=no seed=5", "--a", 4, allow_same_group=True, seed=3)
    assert "exclude_same_group" not in way.options
    assert way.options["seed"] == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("top", "'top' is not NAME=VALUE"),
        ("policy=", "'policy=' is not NAME=VALUE"),
        ("policy=best", "policy is 'best'; expected top, window, softmax"),
        ("policy=top nope=1", "policy top has no setting 'nope'; it has none"),
        ("policy=softmax beta=x", "--policy-option beta is 'x'; expected float"),
        ("policy=dss pool=50", "policy dss needs --policy-option nearest=…"),
        ("range_min=1.5", "range_min is '1.5'; expected int"),
        ("exact=maybe", "exact is 'maybe'; expected yes or no"),
        ("seed=1 seed=2", "seed is given twice"),
        ("exact=yes recall_target=0.9", "--exact and --recall-target exclude each other"),
        ("policy_option=beta", "policy top has no setting 'policy_option'"),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    with pytest.raises(Mistake) as raised:
        option_set(text, "--b", 4)
    assert str(raised.value).startswith(f"--b {text!r}: ")
    assert said in str(raised.value)
    assert "expected options of `negmine mine`" in str(raised.value)
