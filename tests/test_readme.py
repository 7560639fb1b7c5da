"""README's table of settings is the one that settings.py makes. Run as a program to write it anew."""

from __future__ import annotations

import re
from pathlib import Path

from negmine_server.settings import Settings

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCK = re.compile(r"(<!-- settings: [^\n]*-->\n).*?(<!-- /settings -->)", re.DOTALL)


def table() -> str:
    """The settings as Markdown."""
    lines = ["| flag | default | what |", "|---|---|---|"]
    for name, item in Settings.model_fields.items():
        default = "" if item.default in {None, ""} else f"`{item.default}`"
        lines.append(f"| `--{name.replace('_', '-')}` | {default} | {item.description} |")
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    return BLOCK.sub(lambda found: found[1] + table() + found[2], text)


def test_readme_lists_every_setting() -> None:
    text = README.read_text(encoding="utf-8")
    assert BLOCK.search(text)
    assert with_table(text) == text


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
