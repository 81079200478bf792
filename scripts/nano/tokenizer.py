"""The rehearsal model's byte-level BPE: vocab.json and merges.txt in CLIP's format, learnt from the trained captions.

    python -m scripts.nano.tokenizer          # reads captions.tsv, writes tokenizer/ and tokenizer_2/

As in SDXL, tokenizer 1 pads with <|endoftext|> and tokenizer 2 with "!" (id 0). The two specials have the two highest
ids, so that open_clip's argmax pooling and transformers' end-of-text pooling find the same position.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ireeperf.errors import ConfigError
from scripts.nano.captions import MODEL, NEGATIVE_PROMPT, read_tsv

VOCABULARY = 2048
CONTEXT = 77  # tokens; a multiple-of-two prefix of 64 is AMD's max_seq_len
START, END = "<|startoftext|>", "<|endoftext|>"
WORD = re.compile(r"[a-z]+|[0-9]|[^\sa-z0-9]+")  # CLIP's own pattern on ASCII text


def byte_characters() -> list[str]:
    """The 256 printable characters CLIP writes bytes with, in CLIP's order ("!" first, so it gets id 0)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(other))]


def learn_merges(texts: Iterable[str], count: int) -> list[tuple[str, str]]:
    """The `count` most frequent pair merges, ties by text order, so the result is a function of the texts alone."""
    words = Counter(word for text in texts for word in WORD.findall(text.lower()))
    pieces = {word: [*word[:-1], f"{word[-1]}</w>"] for word in words if word.isascii()}
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in pieces.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += words[word]
        if not pairs:
            raise ConfigError(f"the texts give only {len(merges)} merges, {count} wanted; use more text or a smaller vocabulary")
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for word, parts in pieces.items():
            pieces[word] = _merged(parts, best)
    return merges


def _merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    """`parts` with each occurrence of `pair` joined."""
    result: list[str] = []
    for part in parts:
        if result and (result[-1], part) == pair:
            result[-1] += part
        else:
            result.append(part)
    return result


def write(folder: Path, merges: Sequence[tuple[str, str]], pad: str) -> None:
    """Write vocab.json, merges.txt, tokenizer_config.json and special_tokens_map.json as SDXL's folders have them."""
    characters = byte_characters()
    tokens = [*characters, *(f"{c}</w>" for c in characters), *("".join(pair) for pair in merges), START, END]
    specials = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": CONTEXT, "do_lower_case": True,
              "add_prefix_space": False, "clean_up_tokenization_spaces": True, **specials}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}, ensure_ascii=False), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(specials, indent=2) + "\n", "utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Learn the merges from trained captions, their keywords and the negative prompt; write both tokenizer folders."""
    parser = argparse.ArgumentParser(prog="scripts.nano.tokenizer", allow_abbrev=False, description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL, help="folder with captions.tsv; the tokenizers go there")
    settings = parser.parse_args(argv)
    rows = [row for row in read_tsv(settings.model / "captions.tsv") if row.split == "train"]
    texts = [f"{row.caption} {' '.join(row.keywords)}" for row in rows] + [NEGATIVE_PROMPT]
    merges = learn_merges(texts, VOCABULARY - 2 * 256 - 2)
    write(settings.model / "tokenizer", merges, pad=END)
    write(settings.model / "tokenizer_2", merges, pad="!")
    print(json.dumps({"vocabulary": VOCABULARY, "merges": len(merges), "texts": len(texts)}))


if __name__ == "__main__":
    main()
