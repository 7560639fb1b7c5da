"""What every test shares.

Hypothesis without time limits (the machine is shared) and, in CI, with fixed examples; Triton's kernels interpreted,
unless there is a card.
"""

from __future__ import annotations

import os

from hypothesis import settings

if os.environ.get("NEGMINE_GPU") != "1":
    os.environ["TRITON_INTERPRET"] = "1"  # read where Triton is first imported, which trainers do as well

settings.register_profile("negmine", deadline=None, print_blob=True, derandomize=bool(os.environ.get("CI")))
settings.load_profile("negmine")
