"""One figure in the form that every benchmark shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Result:
    """A figure.

    Attributes:
        name: stable, dotted and specific.
        value: the figure, in `unit`.
        target: what was to be reached; None = nothing was set.
        peer: what it is compared with, in the same minute; empty = nothing.
        params: sizes, data, and whatever else is needed to read the figure.
    """

    name: str
    value: float
    unit: str
    better: Literal["higher", "lower"]
    target: float | None = None
    peer: str = ""
    peer_value: float | None = None
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.better == "higher" else self.value <= self.target

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer; None without one."""
        if self.peer_value is None:
            return None
        return self.value / self.peer_value if self.better == "higher" else self.peer_value / self.value

    def as_json(self) -> dict[str, Any]:
        """As it is printed and kept."""
        return {
            "name": self.name,
            "value": rounded(self.value),
            "unit": self.unit,
            "better": self.better,
            "target": self.target,
            "met": self.met,
            "peer": self.peer or None,
            "peer_value": rounded(self.peer_value),
            "ratio": rounded(self.ratio),
            "params": rounded(self.params),
        }


def rounded(value: Any) -> Any:
    """Floats to four digits: more would be noise."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value
