"""Make a sample set: captions through both CLIP tokenizers, the negative prompt, and the one shared latent.

    python -m export.samples --model-json export/configs/sdxl_nano_bs8.json --tokenizers models/sdxl-nano \\
        --captions models/sdxl-nano/captions.tsv --output build/samples/sdxl-nano-64.npz
    python -m export.samples --model-json export/configs/sdxl_fp16_bs32.json --tokenizers DIR \\
        --captions captions_source.tsv --output build/samples/coco-2014-64.npz

Sample index = row of the .tsv. References are column image_id (COCO), else id.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export import model_config, torch_setup
from export.latents import standard_normal
from export.model_config import ModelConfig
from ireeperf.errors import ConfigError, MissingFileError, exit_code
from ireeperf.samples import SampleSet

LATENT_SEED = 0  # MLPerf's latents.pt


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSettings:
    """The command line."""

    model_json: Path
    tokenizers: Path
    captions: Path
    column: str
    count: int | None
    name: str | None
    output: Path


def parse(argv: Sequence[str] | None = None) -> SampleSettings:
    parser = argparse.ArgumentParser(prog="export.samples", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--model-json", type=Path, required=True, help="model config: length, latent shape, negative prompt")
    parser.add_argument("--tokenizers", type=Path, required=True, help="folder with tokenizer/ and tokenizer_2/")
    parser.add_argument("--captions", type=Path, required=True, help=".tsv with a header line")
    parser.add_argument("--column", default="caption", help="column of the prompts (default %(default)s)")
    parser.add_argument("--count", type=int, help="only the first rows (default all)")
    parser.add_argument("--name", help="name of the set (default: the captions' origin)")
    parser.add_argument("--output", type=Path, required=True, help=".npz to write")
    return SampleSettings(**vars(parser.parse_args(argv)))


def read_captions(path: Path, column: str, count: int | None) -> tuple[list[str], list[str], str]:
    """Captions (newlines removed, stripped), references and the origin's name; ConfigError names the row that is wrong."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except FileNotFoundError:
        raise MissingFileError(f"captions file {path} does not exist") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if not rows or column not in rows[0]:
        raise ConfigError(f"{path} has no column {column!r}; it has {', '.join(rows[0]) if rows else 'no rows'}")
    if count is not None:
        if not 0 < count <= len(rows):
            raise ConfigError(f"--count is {count}; {path} has {len(rows)} rows")
        rows = rows[:count]
    captions = [(row[column] or "").replace("\n", "").replace("\r", "").strip() for row in rows]
    if "" in captions:
        raise ConfigError(f"{path}: row {captions.index('') + 1} has an empty {column}")
    reference = next((name for name in ("image_id", "id") if name in rows[0]), None)
    origin = "coco-2014" if "coco_url" in rows[0] else ""
    return captions, [row[reference] for row in rows] if reference else [], origin


def tokenize(tokenizer: Any, texts: Sequence[str], length: int) -> np.ndarray:
    """[len(texts), length] int64: padded to `length` with the tokenizer's own pad token, truncated to it."""
    ids = tokenizer(list(texts), padding="max_length", max_length=length, truncation=True)["input_ids"]
    return np.asarray(ids, np.int64)


def make(config: ModelConfig, tokenizers: Path, captions: Sequence[str], references: Sequence[str], name: str) -> SampleSet:
    """The sample set of `captions` for `config`."""
    from transformers import CLIPTokenizer

    columns = {}
    for index, folder in ((1, tokenizers / "tokenizer"), (2, tokenizers / "tokenizer_2")):
        if not folder.is_dir():
            raise MissingFileError(f"{folder} does not exist; --tokenizers wants a diffusers SDXL folder with both tokenizers")
        try:
            tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"{folder} does not hold a CLIP tokenizer: {str(error)[:200]}") from error
        columns[f"prompt_ids_{index}"] = tokenize(tokenizer, captions, config.max_seq_len)
        negative = tokenize(tokenizer, [config.negative_prompt], config.max_seq_len)
        columns[f"negative_ids_{index}"] = np.repeat(negative, len(captions), axis=0)
    return SampleSet(name=name, model=config.model, max_seq_len=config.max_seq_len, captions=tuple(captions),
                     references=tuple(references), latents=standard_normal((1, *config.latent_shape), LATENT_SEED), **columns)


def main() -> int:
    settings = parse()
    config = model_config.read(settings.model_json)
    captions, references, origin = read_captions(settings.captions, settings.column, settings.count)
    found = f"{origin}-head{settings.count}" if origin and settings.count else origin or f"{config.model}-{len(captions)}"
    name = settings.name or found
    print(f"samples {name} of {settings.captions}: {len(captions)} captions, {config.max_seq_len} tokens, "
          f"latents {config.latent_shape}, negative prompt {config.negative_prompt!r}", flush=True)
    torch_setup.prepare()
    samples = make(config, settings.tokenizers, captions, references, name)
    samples.write(settings.output)
    print(json.dumps({"samples": len(samples), "name": name, "digest": samples.digest, "task_digest": samples.task_digest,
                      "output": str(settings.output)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
