"""PromptSet: what LoadGen's samples mean for a decoder: token ids made once in the torch environment, with the reference's answers.

The harness reads only this file, so it needs no tokenizer (there is none for free-threaded Python).
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ireeperf import arrays, document
from ireeperf.errors import ConfigError

REMEDY = "make it with python -m export.prompts"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PromptSet:
    """N prompts. Sample index = row. `answers` are the token ids that the reference model gives, the one that ends an answer among them."""

    schema_version: ClassVar[int] = 1
    name: str  # "python-topics-512", "open-orca-24576"
    model: str
    max_new_tokens: int  # of an answer
    prompts: tuple[np.ndarray, ...]  # int32 [tokens], the chat template's included
    answers: tuple[np.ndarray, ...] = ()  # int32 [tokens]; empty: no reference
    references: tuple[str, ...] = ()  # what an answer is scored against, as text

    def __post_init__(self) -> None:
        for what, rows in (("answers", self.answers), ("references", self.references)):
            if rows and len(rows) != len(self.prompts):
                raise ConfigError(f"prompt set {self.name}: {len(rows)} {what} for {len(self.prompts)} prompts")
        if not self.prompts or not all(len(one) for one in self.prompts):
            raise ConfigError(f"prompt set {self.name} has no prompts, or an empty one; {REMEDY}")
        if self.max_new_tokens < 1:
            raise ConfigError(f"prompt set {self.name}: max_new_tokens is {self.max_new_tokens}; at least 1")

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return max(map(len, self.prompts))

    @property
    def digest(self) -> str:
        """sha256 over prompts and references: the same prompts give the same digest whatever file holds them."""
        state = hashlib.sha256(json.dumps([self.model, self.max_new_tokens, self.references]).encode())
        for rows in (self.prompts, self.answers):
            for row in rows:
                state.update(len(row).to_bytes(8, "little") + np.ascontiguousarray(row, "<i4").tobytes())
        return state.hexdigest()

    def head(self, count: int) -> PromptSet:
        """The first `count` prompts as a set of their own."""
        if not 0 < count <= len(self):
            raise ConfigError(f"{count} samples asked of {self.name}, which has {len(self)}")
        return PromptSet(name=f"{self.name}-head{count}", model=self.model, max_new_tokens=self.max_new_tokens, prompts=self.prompts[:count],
                         answers=self.answers[:count], references=self.references[:count])

    def write(self, path: Path) -> None:
        """Write as .npz, whole or not at all."""
        header = _Header(name=self.name, model=self.model, max_new_tokens=self.max_new_tokens, references=self.references)
        arrays.write(path, header, _flat("prompts", self.prompts) | _flat("answers", self.answers))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """What a prompt set's file says beside its tokens."""

    schema_version: ClassVar[int] = PromptSet.schema_version
    name: str
    model: str
    max_new_tokens: int
    references: tuple[str, ...]


def read(path: Path) -> PromptSet:
    """Read a prompt set. ConfigError when the file is absent, corrupt or of another version."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if "latents" in archive:
                raise ConfigError(f"{path} is a sample set of images, whose runs python -m eval.score scores; a decoder needs a prompt set: {REMEDY}")
            content = json.loads(archive["header"].tobytes())
            rows = {name: _rows(archive[name], archive[f"{name}_lengths"]) for name in ("prompts", "answers")}
    except FileNotFoundError:
        raise ConfigError(f"prompt set {path} does not exist; {REMEDY}") from None
    except (OSError, EOFError, KeyError, TypeError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ConfigError(f"{path} is not a prompt set ({error}); {REMEDY}") from error
    header = document.from_dict(_Header, content, where=str(path))
    return PromptSet(name=header.name, model=header.model, max_new_tokens=header.max_new_tokens, references=header.references, **rows)


def _flat(name: str, rows: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([np.empty(0, np.int32), *rows]).astype(np.int32), f"{name}_lengths": np.array([len(row) for row in rows], np.int64)}


def _rows(flat: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, ...]:
    ends = np.cumsum(lengths)
    if flat.dtype != np.int32 or (lengths < 0).any() or (int(ends[-1]) if len(ends) else 0) != len(flat):
        raise ValueError("its lengths and tokens do not fit")
    return tuple(np.split(flat, ends[:-1])) if len(ends) else ()
