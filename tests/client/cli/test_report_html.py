from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_report import report
from negmine.cli.report_html import page

HOSTILE = "<script>document.title='taken'</script>\"'><img src=x onerror=alert(1)>&amp;"
DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5Er"
    "kJggg=="
)


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("there is no chromium to open the page with")
    return found


def opened(chromium: str, folder: Path, html: str, *asked: str) -> str:
    """What the browser writes to stdout for a page."""
    path = folder / "page.html"
    path.write_text(html, encoding="utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
    ]
    done = subprocess.run([chromium, *flags, *asked, path.as_uri()], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Elements(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_a_page_needs_nothing_else() -> None:
    elements = Elements(page(report(dict.fromkeys(range(80), "t"), DOT))).found
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in elements}
    assert {held["src"] for _, held in elements if "src" in held} == {DOT}
    assert not [held for _, held in elements if "href" in held or any(name.startswith("on") for name in held)]


def test_hostile_texts_stay_texts() -> None:
    plain = Elements(page(report(dict.fromkeys(range(80), "t")))).found
    html = page(report(dict.fromkeys(range(80), HOSTILE)))
    assert Elements(html).found == plain
    assert "&lt;script&gt;document.title=&#x27;taken&#x27;" in html


def test_marks_bars_and_verdicts() -> None:
    html = page(report())
    assert html.count('<article class="card"') == 2
    first, second = html.split('<article class="card"')[1:]
    assert "--at-positive: " in first
    assert "--at-positive: " not in second
    assert "<b>0.720</b>" in first
    assert '<span class="starved">exhausted</span>' in second
    bars = [float(width) for width in re.findall(r"--s: ([\d.]+)%", first)]
    assert bars == sorted(bars, reverse=True)
    assert bars[0] == bars[1] == 100  # the anchor itself does not stretch the axis


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_browser_shows_it(chromium: str, tmp_path: Path) -> None:
    html = page(report(dict.fromkeys(range(80), HOSTILE), DOT))
    dom = opened(chromium, tmp_path, html, "--dump-dom")
    assert "<title>wiki: 2 anchors</title>" in dom  # the hostile script did not run
    shown = re.findall(r'<span class="badge">([^<]+)</span>', dom)
    assert shown[:5] == ["own id", "margin", "positive", "same group", "picked"]
    image = pytest.importorskip("PIL.Image", reason="Pillow reads the screenshot")
    opened(chromium, tmp_path, html, f"--screenshot={tmp_path / 'page.png'}", "--window-size=1200,900")
    with image.open(tmp_path / "page.png") as screenshot:
        assert screenshot.size == (1200, 900)
        colours = screenshot.convert("RGB").getcolors(1 << 20)
    assert len(colours) > 100
    assert max(count for count, _ in colours) < 0.9 * 1200 * 900
