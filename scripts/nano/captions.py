"""Captions of the rehearsal model: icon names of Noto Emoji with words of emojilib, split before any training.

    python -m scripts.nano.captions --packages DIR     # DIR/node_modules as npm ci made it (scripts/nano/package.json)

Writes models/sdxl-nano/captions.tsv (id, caption, keywords, split, source), prompts.tsv (the 256 evidence prompts) and
pictures.webp (scripts/nano/pictures.py). Held out: 10 % of the captions, drawn by seed in whole groups of near-duplicates
(by words or by pixels), so that no close relative of a held-out picture is ever trained on.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ireeperf.errors import ConfigError, MissingFileError
from scripts.nano import pictures as drawn

MODEL = Path(__file__).resolve().parents[2] / "models" / "sdxl-nano"
SPLIT_SEED = 20261123
HELDOUT_SHARE = 0.10
ALIKE = 5.0  # mean difference of 16x16 thumbnails, of 255, under which two pictures are near-duplicates
EVIDENCE_PROMPTS = 256
NEGATIVE_PROMPT = "normal quality, low quality, worst quality, low res, blurry, nsfw, nude"  # MLPerf's, for every sample

SKIN_TONE = re.compile(r"skin-tone|tone\d")
# What variants of one picture differ in: who is drawn, which way they face, hair, number, direction, colour.
PEOPLE = "man men male woman women female person people adult adults boy girl boys girls child children old older lady"
HAIR = "bald beard blond red-hair curly-hair white-hair red-haired curly-haired hair haired"
DIRECTION = ("up down left right upwards downwards leftwards rightwards up-down left-right up-left up-right down-left"
             " down-right facing counterclockwise clockwise inverted")
NUMBER = "one two three four five six seven eight nine ten eleven twelve thirty oclock first second third 1st 2nd 3rd"
COLOUR = ("red orange yellow green blue light-blue purple brown black white grey gray pink small medium large"
          " medium-small light dark")
DROPPED = frozenset(f"{PEOPLE} {HAIR} {DIRECTION} {NUMBER} {COLOUR} with in the of a".replace("-", " ").split())
FAMILIES = ("kiss", "couple with heart", "family", "letter", "keycap", "mailbox", "moon", "hands", "holding hands",
            "wheelchair", "white cane")


@dataclass(frozen=True, slots=True, kw_only=True)
class Captioned:
    """One picture's words. `split` is train or heldout; `source` is the icon's name in @iconify-json/noto."""

    id: int
    caption: str
    keywords: tuple[str, ...]
    split: str
    source: str


def icon_names(packages: Path) -> list[str]:
    """Names of the icons used: shown in the set (not hidden), no skin-tone variants; sorted."""
    icons = _json(packages / "node_modules/@iconify-json/noto/icons.json")["icons"]
    return sorted(name for name, icon in icons.items() if not icon.get("hidden") and not SKIN_TONE.search(name))


def keywords_of(packages: Path, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """emojilib's words for each icon: ASCII, at most ten, those already in the name left out; () where it has none."""
    characters = _json(packages / "node_modules/@iconify-json/noto/chars.json")
    library = {key.replace("\ufe0f", ""): words for key, words in _json(packages / "node_modules/emojilib/dist/emoji-en-US.json").items()}
    words: dict[str, tuple[str, ...]] = {}
    for code, name in characters.items():
        found = library.get("".join(chr(int(part, 16)) for part in code.split("-")).replace("\ufe0f", ""))
        if found and name not in words:
            words[name] = _clean(name, found)
    return {name: words.get(name, ()) for name in names}


def _clean(name: str, found: Sequence[str]) -> tuple[str, ...]:
    plain = (word.replace("_", " ").replace("-", " ").lower().strip() for word in found)
    kept = [word for word in plain if re.fullmatch(r"[a-z][a-z ]+", word) and word not in name.replace("-", " ")]
    return tuple(dict.fromkeys(kept))[:10]


def group_key(name: str) -> str:
    """What near-duplicates share: the caption without who, which way, hair, number and colour; a family's name if in one."""
    caption = name.replace("-", " ")
    for family in FAMILIES:
        if re.search(rf"\b{family}\b", caption):
            return family
    return " ".join(word for word in caption.split() if word not in DROPPED) or "only dropped words"


def draw_split(names: Sequence[str], keywords: dict[str, tuple[str, ...]], pictures: np.ndarray) -> set[str]:
    """Names held out: whole near-duplicate groups, drawn by SPLIT_SEED until HELDOUT_SHARE is reached.

    Joined are names with the same group key, with the same set of two or more keywords, or with pictures that are ALIKE.
    """
    links = [*_alike(names, pictures)]
    first: dict[object, str] = {}
    for name in names:
        words = frozenset(keywords[name])
        for key in (group_key(name), words if len(words) > 1 else ("too few words", name)):
            links.append((name, first.setdefault(key, name)))
    order = _groups(names, links)
    random.Random(SPLIT_SEED).shuffle(order)
    heldout: set[str] = set()
    budget = round(HELDOUT_SHARE * len(names))
    for group in order:
        if len(heldout) + len(group) <= budget:
            heldout.update(group)
    return heldout


def _alike(names: Sequence[str], pictures: np.ndarray) -> list[tuple[str, str]]:
    """Pairs of names whose thumbnails differ by less than ALIKE."""
    small = drawn.thumbnails(pictures)
    pairs = []
    for index in range(1, len(names)):
        near = np.flatnonzero(np.abs(small[:index] - small[index]).mean(1) < ALIKE)
        pairs += [(names[index], names[int(other)]) for other in near]
    return pairs


def _groups(names: Sequence[str], links: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Connected components of `links`, each sorted, in sorted order."""
    parent = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for a, b in links:
        parent[root(a)] = root(b)
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(root(name), []).append(name)
    return sorted(groups.values())


def collect(packages: Path) -> tuple[list[Captioned], np.ndarray]:
    """All captions with their split, in the order of their ids, and their pictures [N, 128, 128, 3] uint8.

    Of icons with the very same pixels only the first name stays: retrieval could not tell them apart.
    """
    names = icon_names(packages)
    pictures = drawn.render(packages, names)
    distinct = sorted({picture.tobytes(): index for index, picture in reversed([*enumerate(pictures)])}.values())
    names, pictures = [names[index] for index in distinct], pictures[distinct]
    keywords = keywords_of(packages, names)
    heldout = draw_split(names, keywords, pictures)
    rows = [Captioned(id=index, caption=name.replace("-", " "), keywords=keywords[name], source=name,
                      split="heldout" if name in heldout else "train") for index, name in enumerate(names)]
    return rows, pictures


def draw_prompts(rows: Sequence[Captioned]) -> list[Captioned]:
    """The 256 trained captions the evidence is about, drawn by SPLIT_SEED, in drawn order."""
    return random.Random(SPLIT_SEED + 1).sample([row for row in rows if row.split == "train"], EVIDENCE_PROMPTS)


def write_tsv(path: Path, rows: Sequence[Captioned]) -> None:
    """Tab-separated with a header line; keywords are joined by a comma."""
    lines = ["id\tcaption\tkeywords\tsplit\tsource"]
    lines += [f"{row.id}\t{row.caption}\t{', '.join(row.keywords)}\t{row.split}\t{row.source}" for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_tsv(path: Path) -> list[Captioned]:
    """Rows of captions.tsv or prompts.tsv. MissingFileError or ConfigError with the line when it does not parse."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise MissingFileError(f"{path} does not exist; make it with python -m scripts.nano.captions") from None
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        if len(cells) != 5 or cells[3] not in ("train", "heldout"):
            raise ConfigError(f"{path}:{number}: expected id, caption, keywords, train|heldout, source; found {line!r}")
        rows.append(Captioned(id=int(cells[0]), caption=cells[1], split=cells[3], source=cells[4],
                              keywords=tuple(word for word in cells[2].split(", ") if word)))
    return rows


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFileError(f"{path} does not exist; run npm ci with scripts/nano/package.json and its lock file in that folder") from None


def main(argv: Sequence[str] | None = None) -> None:
    """Write captions.tsv, prompts.tsv and pictures.webp; print the counts."""
    parser = argparse.ArgumentParser(prog="scripts.nano.captions", allow_abbrev=False, description=__doc__)
    parser.add_argument("--packages", type=Path, required=True, help="folder with node_modules (npm ci)")
    parser.add_argument("--output", type=Path, default=MODEL)
    settings = parser.parse_args(argv)
    rows, pictures = collect(settings.packages)
    prompts = draw_prompts(rows)
    write_tsv(settings.output / "captions.tsv", rows)
    write_tsv(settings.output / "prompts.tsv", prompts)
    drawn.write_sheet(settings.output / "pictures.webp", pictures)
    heldout = sum(row.split == "heldout" for row in rows)
    print(json.dumps({"captions": len(rows), "train": len(rows) - heldout, "heldout": heldout, "prompts": len(prompts)}))


if __name__ == "__main__":
    main()
