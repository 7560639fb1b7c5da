"""What `mine` can be asked for: how negatives are picked, which are too close to trust, and how the scan goes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, get_type_hints

import typer

import negmine
from negmine.cli.mistakes import Mistake

_PICK: Final = "Which negatives"
_PROTECT: Final = "Protection (s: a candidate's score, s+: its positives' lowest)"
_SCAN: Final = "Scan"


class PolicyName(StrEnum):
    """Policies by name; `negmine info` lists those that a server has."""

    TOP = "top"
    WINDOW = "window"
    SOFTMAX = "softmax"
    SEMI_HARD = "semi-hard"
    DISTANCE_WEIGHTED = "distance-weighted"
    SIMANS = "simans"
    DSS = "dss"
    DIVERSE = "diverse"
    UNREMIX = "unremix"
    MIXED = "mixed"


class Sampling(StrEnum):
    """How k are taken from the window."""

    TOP = "top"
    RANDOM = "random"


class ScoringMode(StrEnum):
    """How items are scored in the scan."""

    AUTO = "auto"
    SYMMETRIC = "symmetric"
    ASYMMETRIC = "asymmetric"
    FLOAT = "float"


class FillMode(StrEnum):
    """What fills the places of starved anchors."""

    NOTHING = "nothing"
    RANDOM = "random"
    RELAXED = "relaxed"


_POLICIES: Final[dict[PolicyName, type[Any]]] = {
    PolicyName.TOP: negmine.Top,
    PolicyName.SOFTMAX: negmine.Softmax,
    PolicyName.SEMI_HARD: negmine.SemiHard,
    PolicyName.DISTANCE_WEIGHTED: negmine.DistanceWeighted,
    PolicyName.SIMANS: negmine.Simans,
    PolicyName.DSS: negmine.Dss,
    PolicyName.DIVERSE: negmine.Diverse,
    PolicyName.UNREMIX: negmine.Unremix,
}


@dataclass(frozen=True, slots=True)
class PolicyOptions:
    """How the k are picked."""

    policy: Annotated[
        PolicyName | None,
        typer.Option(
            metavar="NAME",
            help="top, window, softmax, semi-hard, distance-weighted, simans, dss, diverse, unremix or mixed. "
            "Unset: window where a range is given, else top.",
            rich_help_panel=_PICK,
        ),
    ] = None
    range_min: Annotated[int | None, typer.Option(help="First rank of the window, from 0.", rich_help_panel=_PICK)] = (
        None
    )
    range_max: Annotated[
        int | None, typer.Option(help="One past its last rank. Unset: range-min + k.", rich_help_panel=_PICK)
    ] = None
    sampling_strategy: Annotated[
        Sampling | None, typer.Option(metavar="NAME", help="top or random of the window.", rich_help_panel=_PICK)
    ] = None
    policy_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A setting of another policy, as in beta=5 or pool=200; repeatable. mixed takes random-share=…, "
            "hard=NAME and the settings of that policy.",
            rich_help_panel=_PICK,
        ),
    ] = None

    def make(self, k: int) -> negmine.Policy:
        """The policy for k negatives.

        Raises:
            Mistake: options that do not go together, or a setting that the policy does not have.
        """
        ranged = [value is not None for value in (self.range_min, self.range_max, self.sampling_strategy)]
        name = self.policy or (PolicyName.WINDOW if any(ranged) else PolicyName.TOP)
        if name not in {PolicyName.WINDOW, PolicyName.MIXED} and any(ranged):
            raise Mistake(
                f"--range-min, --range-max and --sampling-strategy belong to --policy window; the policy is {name}"
            )
        settings = self._settings()
        if name is PolicyName.MIXED:
            own = {field: settings.pop(field) for field in ("random_share",) if field in settings}
            hard = self._hard(settings.pop("hard", None), any(ranged))
            return _built(negmine.Mixed, own, name, hard=self._single(hard, settings, k))
        return self._single(name, settings, k)

    def _single(self, name: PolicyName, settings: dict[str, str], k: int) -> negmine.Policy:
        if name is not PolicyName.WINDOW:
            return _built(_POLICIES[name], settings, name)
        if settings:
            raise Mistake(f"--policy-option {next(iter(settings))}: window takes --range-min and the like instead")
        return self._window(k)

    def _hard(self, given: str | None, ranged: bool) -> PolicyName:
        """The policy inside a mixed one."""
        name = given or (PolicyName.WINDOW if ranged else PolicyName.TOP)
        known = [each.value for each in PolicyName if each is not PolicyName.MIXED]
        if name not in known:
            raise Mistake(f"--policy-option hard is {name!r}; expected one of {', '.join(known)}")
        if ranged and name != PolicyName.WINDOW:
            raise Mistake(f"--range-min and the like belong to a window; --policy-option hard is {name}")
        return PolicyName(name)

    def _window(self, k: int) -> negmine.Window:
        first = self.range_min or 0
        sampling = self.sampling_strategy or Sampling.TOP
        if self.range_max is None and sampling is Sampling.RANDOM:
            raise Mistake("--sampling-strategy random needs --range-max, the end of the window to sample from")
        last = first + k if self.range_max is None else self.range_max
        return negmine.Window(first, last, sampling.value)

    def _settings(self) -> dict[str, str]:
        settings: dict[str, str] = {}
        for given in self.policy_option or []:
            name, equals, value = given.partition("=")
            if not equals:
                raise Mistake(f"--policy-option is {given!r}; expected NAME=VALUE")
            settings[name.strip().replace("-", "_")] = value.strip()
        return settings


def settings_of(policy: str) -> set[str]:
    """Names of the settings that a policy takes; none of one that takes options of its own, or that does not exist."""
    kind = _POLICIES.get(PolicyName(policy)) if policy in list(PolicyName) else None
    return set() if kind is None else {part.name for part in dataclasses.fields(kind)}


def _built(kind: type[Any], settings: dict[str, str], name: str, **fixed: object) -> negmine.Policy:
    hints = {field: hint for field, hint in get_type_hints(kind).items() if field not in fixed}
    values: dict[str, object] = dict(fixed)
    for field, text in settings.items():
        if field not in hints:
            raise Mistake(f"policy {name} has no setting {field!r}; it has {', '.join(hints) or 'none'}")
        try:
            values[field] = text.lower() in {"1", "true", "yes"} if hints[field] is bool else hints[field](text)
        except ValueError as wrong:
            raise Mistake(f"--policy-option {field} is {text!r}; expected {hints[field].__name__}") from wrong
    if values.get("weights_only"):
        raise Mistake("--policy-option weights_only asks for weights; a file of negatives holds none")
    needed = [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.name not in values
    ]
    if needed:
        raise Mistake(f"policy {name} needs " + ", ".join(f"--policy-option {field}=…" for field in needed))
    made: negmine.Policy = kind(**values)
    return made


@dataclass(frozen=True, slots=True)
class ProtectionOptions:
    """Which candidates may be unlabelled positives."""

    absolute_margin: Annotated[
        float | None, typer.Option(help="Drop where s + margin > s+.", rich_help_panel=_PROTECT)
    ] = None
    relative_margin: Annotated[
        float | None, typer.Option(help="Drop where s > s+ - |s+| × margin.", rich_help_panel=_PROTECT)
    ] = None
    percent_of_positive: Annotated[
        float | None, typer.Option(help="Drop where s >= s+ - |s+| × (1 - share); try 0.95.", rich_help_panel=_PROTECT)
    ] = None
    max_score: Annotated[float | None, typer.Option(help="Drop where s is higher.", rich_help_panel=_PROTECT)] = None
    min_score: Annotated[float | None, typer.Option(help="Drop where s is lower.", rich_help_panel=_PROTECT)] = None

    @property
    def needs_positives(self) -> str | None:
        """The option that compares with a positive's score; None = none does."""
        given = ("absolute_margin", "relative_margin", "percent_of_positive")
        return next((f"--{name.replace('_', '-')}" for name in given if getattr(self, name) is not None), None)

    def described(self) -> dict[str, float]:
        """What was asked for, by name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def make(self) -> negmine.Protection | None:
        """The protection; None = none was asked for."""
        values = self.described()
        return negmine.Protection(**values) if values else None


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """What is scanned, and how."""

    scoring: Annotated[
        ScoringMode, typer.Option(metavar="NAME", help="auto, symmetric, asymmetric or float.", rich_help_panel=_SCAN)
    ] = ScoringMode.AUTO
    exact: Annotated[
        bool, typer.Option("--exact", help="Look at all rows; the same answer each time.", rich_help_panel=_SCAN)
    ] = False
    recall_target: Annotated[
        float | None, typer.Option(help="Share of the exact answer to find, in (0, 1].", rich_help_panel=_SCAN)
    ] = None
    rescore: Annotated[
        bool | None,
        typer.Option("--rescore/--no-rescore", help="On stored vectors. Unset: where kept.", rich_help_panel=_SCAN),
    ] = None
    seed: Annotated[int, typer.Option(help="Of every random choice.", rich_help_panel=_SCAN)] = 0
    pool: Annotated[
        int, typer.Option(help="Candidates per anchor before filters; 0 = the server's choice.", rich_help_panel=_SCAN)
    ] = 0
    max_scanned: Annotated[
        int, typer.Option(help="Most candidates per anchor; 0 = the server's setting.", rich_help_panel=_SCAN)
    ] = 0
    fill: Annotated[
        FillMode,
        typer.Option(
            metavar="NAME", help="Places of starved anchors: nothing, random, relaxed.", rich_help_panel=_SCAN
        ),
    ] = FillMode.NOTHING
    min_step: Annotated[
        int | None, typer.Option(help="Oldest model step that may be mined.", rich_help_panel=_SCAN)
    ] = None
    max_staleness_steps: Annotated[
        int | None, typer.Option(help="Steps that an item may be behind the newest.", rich_help_panel=_SCAN)
    ] = None
    require_tags: Annotated[
        int | None, typer.Option(help="Tag bits that an item must all have.", rich_help_panel=_SCAN)
    ] = None
    forbid_tags: Annotated[
        int | None, typer.Option(help="Tag bits of which an item may have none.", rich_help_panel=_SCAN)
    ] = None
    allow_same_group: Annotated[
        bool, typer.Option("--allow-same-group", help="Mine items of the anchor's group too.", rich_help_panel=_SCAN)
    ] = False

    def make(self) -> negmine.MineOptions:
        """The options that were set, as keyword arguments of `mine`.

        Raises:
            Mistake: two options that exclude each other.
        """
        for one, other in (("exact", "recall_target"), ("min_step", "max_staleness_steps")):
            if not (getattr(self, one) is None or getattr(self, one) is False) and getattr(self, other) is not None:
                raise Mistake(f"--{one.replace('_', '-')} and --{other.replace('_', '-')} exclude each other")
        options = negmine.MineOptions(
            scoring=self.scoring.value, seed=self.seed, pool=self.pool, max_scanned=self.max_scanned, priority="bulk"
        )
        if self.exact:
            options["exact"] = True
        if self.fill is not FillMode.NOTHING:
            options["fill"] = "random" if self.fill is FillMode.RANDOM else "relaxed"
        if self.allow_same_group:
            options["exclude_same_group"] = False
        for name in ("recall_target", "rescore", "min_step", "max_staleness_steps", "require_tags", "forbid_tags"):
            if getattr(self, name) is not None:
                options[name] = getattr(self, name)
        return options
