"""The one data file of the training: pictures, split and token ids, ready to be put on the GPU as they are.

    python -m scripts.nano.data --output .data/nano.npz

Caption variants are tokenized here, so that the training machine needs neither tokenizer nor words. Variant 0 is the
caption; the others add or keep only some shuffled keywords. Ids are stored without padding (the two tokenizers differ
in nothing else); `padded` adds it.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ireeperf import torchvision_schemas
from scripts.nano import pictures
from scripts.nano.captions import MODEL, NEGATIVE_PROMPT, Captioned, read_tsv
from scripts.nano.tokenizer import CONTEXT, VOCABULARY

VARIANTS = 16
WORDS_SEED = 7
PADS = (VOCABULARY - 1, 0)  # tokenizer 1: <|endoftext|>, tokenizer 2: "!"
EMPTY = -1  # marks positions after <|endoftext|>


def variants(row: Captioned, draw: random.Random) -> list[str]:
    """VARIANTS texts for one picture: the caption, then mixtures with keywords; one in eight is keywords alone."""
    texts = [row.caption]
    while len(texts) < VARIANTS:
        words = draw.sample(row.keywords, draw.randint(1, min(4, len(row.keywords)))) if row.keywords else []
        alone = len(texts) % 8 == 7 and len(words) > 1
        texts.append(", ".join(words if alone else [row.caption, *words]))
    return texts


def tokenize(texts: Sequence[str]) -> np.ndarray:
    """[len(texts), CONTEXT] int16 ids with both specials, EMPTY after the end."""
    import torch

    torchvision_schemas.declare(torch)
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(MODEL / "tokenizer")
    table = np.full((len(texts), CONTEXT), EMPTY, np.int16)
    for row, ids in zip(table, tokenizer(list(texts), truncation=True, max_length=CONTEXT).input_ids):
        row[: len(ids)] = ids
    return table


def padded(ids: np.ndarray, tokenizer: int, length: int = CONTEXT) -> np.ndarray:
    """Ids as tokenizer 1 or 2 pads them, [.., length] int64; the stored prompts are all shorter than 64."""
    return np.where(ids == EMPTY, PADS[tokenizer - 1], ids)[..., :length].astype(np.int64)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the data file and print what is in it."""
    parser = argparse.ArgumentParser(prog="scripts.nano.data", allow_abbrev=False, description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    settings = parser.parse_args(argv)
    rows = read_tsv(MODEL / "captions.tsv")
    draw = random.Random(WORDS_SEED)
    texts = [text for row in rows for text in variants(row, draw)]
    ids = tokenize([*texts, "", NEGATIVE_PROMPT])
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        settings.output, pictures=pictures.read_sheet(MODEL / "pictures.webp", len(rows)),
        train=np.array([row.split == "train" for row in rows]), ids=ids[:-2].reshape(len(rows), VARIANTS, CONTEXT),
        null_ids=ids[-2:], prompts=np.array([row.id for row in read_tsv(MODEL / "prompts.tsv")]))
    print(json.dumps({"rows": len(rows), "variants": VARIANTS, "longest_ids": int((ids != EMPTY).sum(1).max()),
                      "bytes": settings.output.stat().st_size}))


if __name__ == "__main__":
    main()
