"""SampleSet: what LoadGen's samples mean, preprocessed once in the torch environment into one file.

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

ARRAYS = ("prompt_ids_1", "prompt_ids_2", "negative_ids_1", "negative_ids_2", "latents")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleSet:
    """N samples of an SDXL-shaped model. Sample index = row. Negative ids stand in every row: the rules forbid caching."""

    schema_version: ClassVar[int] = 1
    name: str  # "sdxl-nano-1636", "coco-2014"
    model: str
    max_seq_len: int
    captions: tuple[str, ...]
    prompt_ids_1: np.ndarray  # [N, max_seq_len] int64, tokenizer 1
    prompt_ids_2: np.ndarray  # [N, max_seq_len] int64, tokenizer 2
    negative_ids_1: np.ndarray  # [N, max_seq_len] int64
    negative_ids_2: np.ndarray  # [N, max_seq_len] int64
    latents: np.ndarray  # [1, C, h, w] float32, shared by all samples, not yet scaled by the scheduler
    references: tuple[str, ...] = ()  # per sample: id of the original picture, when there is one

    def __post_init__(self) -> None:
        shape = (len(self.captions), self.max_seq_len)
        for name in ARRAYS[:4]:
            if getattr(self, name).shape != shape:
                raise ConfigError(f"sample set {self.name}: {name} has shape {getattr(self, name).shape}, expected {shape}")
        if self.references and len(self.references) != len(self.captions):
            raise ConfigError(f"sample set {self.name}: {len(self.references)} references for {len(self.captions)} captions")

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def digest(self) -> str:
        """sha256 over captions, ids and latents: the same samples give the same digest whatever file holds them."""
        state = hashlib.sha256(json.dumps([self.model, self.max_seq_len, self.captions, self.references]).encode())
        for name in ARRAYS:
            state.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return state.hexdigest()

    @property
    def task_digest(self) -> str:
        """sha256 over what is drawn (captions, references, latents), whatever the tokenization: what a gate is of."""
        state = hashlib.sha256(json.dumps([self.model, self.captions, self.references]).encode())
        state.update(np.ascontiguousarray(self.latents).tobytes())
        return state.hexdigest()

    def head(self, count: int) -> SampleSet:
        """The first `count` samples as a set of their own (the demo's fixed subset)."""
        if not 0 < count <= len(self):
            raise ConfigError(f"{count} samples asked of {self.name}, which has {len(self)}")
        rows = {name: getattr(self, name)[:count] for name in ARRAYS[:4]}
        return SampleSet(name=f"{self.name}-head{count}", model=self.model, max_seq_len=self.max_seq_len,
                         captions=self.captions[:count], latents=self.latents, references=self.references[:count], **rows)

    def write(self, path: Path) -> None:
        """Write as .npz, whole or not at all."""
        header = _Header(name=self.name, model=self.model, max_seq_len=self.max_seq_len, captions=self.captions, references=self.references)
        arrays.write(path, header, {name: getattr(self, name) for name in ARRAYS})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """What a sample set's file says beside its arrays."""

    schema_version: ClassVar[int] = SampleSet.schema_version
    name: str
    model: str
    max_seq_len: int
    captions: tuple[str, ...]
    references: tuple[str, ...]


def read(path: Path) -> SampleSet:
    """Read a sample set. ConfigError when the file is absent, corrupt or of another version."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:  # np.load(path) leaks its file when corrupt
            if "prompts" in archive:
                raise ConfigError(f"{path} is a prompt set of a decoder, whose runs python -m eval.text_score scores; an image model needs a sample "
                                  "set: make it with python -m export.samples")
            content = json.loads(archive["header"].tobytes())
            rows = {name: archive[name] for name in ARRAYS}
    except FileNotFoundError:
        raise ConfigError(f"sample set {path} does not exist; make it with python -m export.samples") from None
    except (OSError, EOFError, KeyError, TypeError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ConfigError(f"{path} is not a sample set ({error}); make it again with python -m export.samples") from error
    header = document.from_dict(_Header, content, where=str(path))
    return SampleSet(name=header.name, model=header.model, max_seq_len=header.max_seq_len, captions=header.captions,
                     references=header.references, **rows)
