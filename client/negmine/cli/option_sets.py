"""Options of `negmine mine` written as one text, as in `policy=window range_min=10 max_score=0.9`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from types import NoneType
from typing import Any, Final, get_args, get_type_hints

import negmine
from negmine.cli.mine_options import PolicyOptions, ProtectionOptions, ScanOptions, settings_of
from negmine.cli.mistakes import Mistake

_GROUPS: Final = (PolicyOptions, ProtectionOptions, ScanOptions)
_EXAMPLE: Final = "policy=window range_min=10 range_max=60"
_TRUTH: Final = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class OptionSet:
    """One way to mine.

    Attributes:
        text: as it was given.
        protected: its protection.
        options: as keyword arguments of `mine`.
    """

    text: str
    protected: ProtectionOptions
    options: negmine.MineOptions


def option_set(text: str, option: str, k: int, **defaults: object) -> OptionSet:
    """Reads words of NAME=VALUE: the options of `negmine mine`, and the settings of the policy.

    Where both have a name, as `pool`, it is the policy's.

    Args:
        text: the words.
        option: that it was given as, for messages.
        k: negatives an anchor.
        **defaults: of the options.

    Raises:
        Mistake: an option that does not exist, a value that it cannot have, or options that do not go together.
    """
    try:
        words = _words(text)
        own = settings_of(words.get("policy", "")) | settings_of(words.get("hard", ""))
        given: dict[type[Any], dict[str, Any]] = {group: {} for group in _GROUPS}
        settings: list[str] = []
        for name, value in {**defaults, **words}.items():
            group = None if name in own else _group(name)
            if group is None:
                settings.append(f"{name}={value}")
            else:
                hint = get_type_hints(group)[name]
                given[group][name] = _value(name, value, hint) if isinstance(value, str) else value
        picked = PolicyOptions(**given[PolicyOptions], policy_option=settings)
        protected = ProtectionOptions(**given[ProtectionOptions])
        options = ScanOptions(**given[ScanOptions]).make()
        options["policy"] = picked.make(k)
    except Mistake as wrong:
        raise Mistake(f"{option} {text!r}: {wrong}; expected options of `negmine mine`, as in {_EXAMPLE!r}") from wrong
    protection = protected.make()
    if protection is not None:
        options["protection"] = protection
    return OptionSet(text, protected, options)


def _words(text: str) -> dict[str, str]:
    words: dict[str, str] = {}
    for word in text.split():
        written, equals, value = word.partition("=")
        name = written.replace("-", "_")
        if not equals or not value:
            raise Mistake(f"{word!r} is not NAME=VALUE")
        if name in words:
            raise Mistake(f"{written} is given twice")
        words[name] = value
    return words


def _group(name: str) -> type[Any] | None:
    """The options that one belongs to; None = it can only be a setting of the policy."""
    held = (group for group in _GROUPS if name in get_type_hints(group) and name != "policy_option")
    return next(held, None)


def _value(name: str, text: str, hint: Any) -> object:
    kind = next((kind for kind in get_args(hint) if kind is not NoneType), hint)
    if kind is bool:
        if text.lower() not in _TRUTH:
            raise Mistake(f"{name} is {text!r}; expected yes or no")
        return _TRUTH[text.lower()]
    try:
        return kind(text)
    except ValueError as wrong:
        known = ", ".join(kind) if issubclass(kind, Enum) else kind.__name__
        raise Mistake(f"{name} is {text!r}; expected {known}") from wrong
