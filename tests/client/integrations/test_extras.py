"""Without its framework, an integration says which extra brings it."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process where the framework cannot be imported, whether it is installed or not.
HIDDEN = """
import sys
sys.modules.update(dict.fromkeys({hidden!r}))
import negmine, negmine.integrations
assert not {hidden!r} & {{name for name in sys.modules if sys.modules[name] is not None}}
import negmine.integrations.{module}
"""


@pytest.mark.parametrize(
    ("module", "extra", "hidden"),
    [
        ("sentence_transformers", "sentence-transformers", {"datasets"}),
        ("sentence_transformers", "sentence-transformers", {"transformers", "datasets"}),
        ("lightning", "lightning", {"lightning", "lightning.pytorch"}),
    ],
)
def test_the_extra_is_named(module: str, extra: str, hidden: set[str]) -> None:
    code = HIDDEN.format(module=module, hidden=hidden)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: negmine's integration of")
    assert f"pip install 'negmine[{extra}]'" in last
