"""What every test shares: hypothesis without time limits (the machine is shared) and, in CI, with fixed examples."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("negmine", deadline=None, print_blob=True, derandomize=bool(os.environ.get("CI")))
settings.load_profile("negmine")
