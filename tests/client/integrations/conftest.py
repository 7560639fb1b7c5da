"""The tests of the integrations share tiny models; tests are imported by path."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

# Read when the frameworks are imported: nothing is looked up or reported outside.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
