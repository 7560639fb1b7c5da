"""Whether models get better: trained with each kind of negatives, on text and on images.

Text: heads on frozen vectors of WordNet, and every negative that is not random comes from a server over gRPC. Images:
a small network on Fashion-MNIST. See training_text/ and images/.
"""

from __future__ import annotations

from harness.result import Result


def run(scale: float) -> list[Result]:
    """`training.text.<arm>`, `training.text.lemmas.<arm>`, `overlap.<bits>`, and `training.image.<arm>`."""
    from images.proof import run_images
    from training_text.proof import run_text

    return [*run_text(scale), *run_images(scale)]
