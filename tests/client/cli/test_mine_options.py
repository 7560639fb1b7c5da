from __future__ import annotations

import negmine
import pytest
from negmine.cli.mine_options import (
    FillMode,
    PolicyName,
    PolicyOptions,
    ProtectionOptions,
    Sampling,
    ScanOptions,
    ScoringMode,
)
from negmine.cli.mistakes import Mistake


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        (PolicyOptions(), negmine.Top()),
        (PolicyOptions(range_min=5), negmine.Window(5, 9, "top")),
        (PolicyOptions(policy=PolicyName.WINDOW), negmine.Window(0, 4, "top")),
        (PolicyOptions(range_max=50, sampling_strategy=Sampling.RANDOM), negmine.Window(0, 50, "random")),
        (PolicyOptions(policy=PolicyName.SOFTMAX, policy_option=["beta=5"]), negmine.Softmax(5.0)),
        (PolicyOptions(policy=PolicyName.SOFTMAX), negmine.Softmax()),
        (PolicyOptions(policy=PolicyName.SOFTMAX, policy_option=["pool=200"]), negmine.Softmax(pool=200)),
        (PolicyOptions(policy=PolicyName.SEMI_HARD, policy_option=["margin=0.5"]), negmine.SemiHard(0.5)),
        (PolicyOptions(policy=PolicyName.DISTANCE_WEIGHTED), negmine.DistanceWeighted()),
        (
            PolicyOptions(policy=PolicyName.SIMANS, policy_option=["a=2", "b=-0.1", "pool=9"]),
            negmine.Simans(2.0, -0.1, 9),
        ),
        (PolicyOptions(policy=PolicyName.DSS, policy_option=["pool=64", "nearest=2"]), negmine.Dss(64, 2)),
        (PolicyOptions(policy=PolicyName.DIVERSE, policy_option=["trade-off=1", "pool=9"]), negmine.Diverse(1.0, 9)),
        (PolicyOptions(policy=PolicyName.UNREMIX), negmine.Unremix()),
        (PolicyOptions(policy=PolicyName.MIXED, policy_option=["random-share=0.5"]), negmine.Mixed(0.5)),
        (
            PolicyOptions(policy=PolicyName.MIXED, policy_option=["random-share=0", "hard=softmax", "beta=3"]),
            negmine.Mixed(0.0, negmine.Softmax(3.0)),
        ),
        (
            PolicyOptions(policy=PolicyName.MIXED, policy_option=["random-share=0.5"], range_max=9),
            negmine.Mixed(0.5, negmine.Window(0, 9)),
        ),
        (
            PolicyOptions(
                policy=PolicyName.UNREMIX,
                policy_option=[
                    "lambda_uncertainty=1",
                    "lambda_similarity=2",
                    "lambda_representativeness=3",
                    "tau=0.1",
                    "pool=64",
                    "weights_only=no",
                ],
            ),
            negmine.Unremix(1.0, 2.0, 3.0, 0.1, 64),
        ),
    ],
)
def test_policies(options: PolicyOptions, policy: negmine.Policy) -> None:
    assert options.make(k=4) == policy


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (PolicyOptions(policy=PolicyName.TOP, range_min=1), "belong to --policy window; the policy is top"),
        (PolicyOptions(sampling_strategy=Sampling.RANDOM), "random needs --range-max"),
        (
            PolicyOptions(policy=PolicyName.UNREMIX, policy_option=["weights-only=yes"]),
            "a file of negatives holds none",
        ),
        (PolicyOptions(policy=PolicyName.DSS), "policy dss needs --policy-option pool=…, --policy-option nearest=…"),
        (PolicyOptions(policy=PolicyName.MIXED), "policy mixed needs --policy-option random_share=…"),
        (PolicyOptions(policy=PolicyName.MIXED, policy_option=["hard=mixed"]), "hard is 'mixed'; expected one of top"),
        (PolicyOptions(policy=PolicyName.MIXED, policy_option=["hard=top"], range_max=9), "hard is top"),
        (PolicyOptions(policy=PolicyName.SOFTMAX, policy_option=["gamma=1"]), "'gamma'; it has beta, pool"),
        (PolicyOptions(policy=PolicyName.SOFTMAX, policy_option=["beta=x"]), "beta is 'x'; expected float"),
        (PolicyOptions(policy=PolicyName.SOFTMAX, policy_option=["beta"]), "expected NAME=VALUE"),
        (PolicyOptions(policy=PolicyName.WINDOW, policy_option=["range_min=1"]), "window takes --range-min"),
    ],
)
def test_policies_that_make_no_sense(options: PolicyOptions, said: str) -> None:
    with pytest.raises(Mistake, match=said):
        options.make(k=4)


def test_protection() -> None:
    assert ProtectionOptions().make() is None
    assert ProtectionOptions(max_score=0.0).make() == negmine.Protection(max_score=0.0)
    assert ProtectionOptions(max_score=0.5).needs_positives is None
    assert ProtectionOptions(relative_margin=0.0).needs_positives == "--relative-margin"


def test_only_what_was_set_is_asked() -> None:
    always = {"scoring": "auto", "seed": 0, "pool": 0, "max_scanned": 0, "priority": "bulk"}
    assert ScanOptions().make() == always
    asked = ScanOptions(
        scoring=ScoringMode.FLOAT,
        rescore=False,
        fill=FillMode.RANDOM,
        min_step=0,
        require_tags=3,
        allow_same_group=True,
    )
    assert asked.make() == always | {
        "scoring": "float",
        "rescore": False,
        "fill": "random",
        "min_step": 0,
        "require_tags": 3,
        "exclude_same_group": False,
    }


def test_options_that_exclude_each_other() -> None:
    with pytest.raises(Mistake, match="--exact and --recall-target exclude each other"):
        ScanOptions(exact=True, recall_target=0.9).make()
    with pytest.raises(Mistake, match="--min-step and --max-staleness-steps exclude each other"):
        ScanOptions(min_step=0, max_staleness_steps=0).make()
