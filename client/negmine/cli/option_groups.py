"""Options that several commands share, or that belong together, declared once as a dataclass."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, get_args, get_origin, get_type_hints


def option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer whose parameters of a dataclass type become one option for each of its fields.

    Fields are declared as typer parameters are: `Annotated[type, typer.Option(...)]` with a default.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if dataclasses.is_dataclass(_bare(kind))}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]))
            continue
        of_fields = get_type_hints(groups[name], include_extras=True)
        parameters += [
            inspect.Parameter(
                part.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if part.default is dataclasses.MISSING else part.default,
                annotation=of_fields[part.name],
            )
            for part in dataclasses.fields(groups[name])
        ]

    @wraps(command)
    def expanded(**values: Any) -> None:
        for name, kind in groups.items():
            values[name] = kind(**{part.name: values.pop(part.name) for part in dataclasses.fields(kind)})
        command(**values)

    expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return expanded


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind
