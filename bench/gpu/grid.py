"""Which groups of cells there are to run, in which part of the grid, and how long each may take."""

from __future__ import annotations

WIDTHS = (128, 256, 512, 1024)
ANCHORS = (1, 64, 1024, 4096)
SIZES = {"1e6": 10**6, "1e7": 10**7, "1e8": 10**8, "1e9": 10**9}

# The part "card" is the fixed grid of `make gpu`; the others are those of `make gpu-full`, each below nine minutes.
PARTS: dict[str, tuple[tuple[str, float], ...]] = {
    "card": (
        ("hamming", 110),
        ("asymmetric", 90),
        ("upserts", 60),
        ("latency", 40),
        ("probing", 45),
        ("service", 60),
    ),
    "1": (("sizes.1e6.128.256.512.1024", 240), ("sizes.1e7.128.256.512.1024", 280)),
    "2": (("sizes.1e8.128.256", 500),),
    "3": (("sizes.1e8.512.1024", 500),),
    "4": (("sizes.1e9.128", 500),),
    "5": (("sizes.1e9.256", 500),),
    "6": (("sizes.1e9.512.1024", 500),),
}
FULL = tuple(part for part in PARTS if part != "card")
