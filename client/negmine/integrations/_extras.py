"""What an integration says where its framework is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Around the imports of a framework: names the extra that brings what is missing.

    Raises:
        ImportError: a module is missing.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        raise ImportError(
            f"negmine's integration of {extra} needs {missing.name}, which is not installed: "
            f"pip install 'negmine[{extra}]'",
            name=missing.name,
        ) from missing
