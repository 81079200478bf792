"""Which files the export of a decoder reads, and the cache key of what it writes. Without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from export.checkpoint_files import NO_CHECKPOINT
from export.decoder_config import DecoderConfig
from export.export_key import version
from ireeperf import document
from ireeperf.errors import ConfigError, MissingFileError

MODULE = "decoder"
INDEX = "model.safetensors.index.json"
LIBRARIES = ("torch", "transformers", "iree-turbine", "iree-base-compiler", "gguf")
SOURCES = ("decoder.py", "decoder_config.py", "decoder_weights.py", "llm.py", "torch_setup.py")
NOT_IN_THE_GRAPH = ("schema_version", "loadgen_model", "target")


def files(checkpoint: Path) -> list[Path]:
    """Every file that loading reads: a GGUF file, or config.json and safetensors of a Hugging Face folder; MissingFileError names what is absent."""
    if checkpoint.suffix == ".gguf":
        if not checkpoint.is_file():
            raise MissingFileError(f"{checkpoint} does not exist; give a GGUF file or a Hugging Face folder")
        return [checkpoint]
    if not (checkpoint / "config.json").is_file():
        raise MissingFileError(f"{checkpoint / 'config.json'} does not exist; a Hugging Face folder has it")
    index, whole = checkpoint / INDEX, checkpoint / "model.safetensors"
    if index.is_file():
        parts = [checkpoint / name for name in sorted(set(_weight_map(index).values()))]
        if absent := [part.name for part in parts if not part.is_file()]:
            raise MissingFileError(f"{checkpoint} lacks {', '.join(absent)}, which {INDEX} names; fetch the checkpoint again")
        return [checkpoint / "config.json", index, *parts]
    if not whole.is_file():
        raise MissingFileError(f"{whole} does not exist, nor {INDEX}; fetch the checkpoint, or give --checkpoint none for the graph without weights")
    return [checkpoint / "config.json", whole]


def entry_points(config: DecoderConfig) -> tuple[str, ...]:
    """Names of the module's functions, prefill first."""
    return (*(f"prefill_bs{size}_len{length}" for size in config.prefill_batch_sizes for length in config.prefill_lengths),
            *(f"decode_bs{size}" for size in config.decode_batch_sizes))


def export_key(config: DecoderConfig, checkpoint: str, digest: Callable[[Path], str]) -> str:
    """sha256, hexadecimal, of all that the exported module and its archive depend on. `digest` hashes one file."""
    here = Path(__file__).resolve().parent
    content = {
        "module": MODULE, "settings": {name: value for name, value in document.to_dict(config).items() if name not in NOT_IN_THE_GRAPH},
        "checkpoint": None if checkpoint == NO_CHECKPOINT else {file.name: digest(file) for file in files(Path(checkpoint))},
        "sources": {name: digest(here / name) for name in SOURCES}, "libraries": {name: version(name) for name in LIBRARIES},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _weight_map(index: Path) -> dict[str, str]:
    try:
        return dict(json.loads(index.read_text())["weight_map"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{index} is no index of safetensors ({error!r}); fetch the checkpoint again") from error
