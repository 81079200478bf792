"""A tokenizer or model of a checkpoint by transformers, never from the network: of a Hugging Face folder, or of a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ireeperf.errors import ConfigError


def load(kind: Any, checkpoint: Path, **options: Any) -> Any:
    """`kind`, a class of transformers (AutoTokenizer, ...), from `checkpoint`; ConfigError when it holds none."""
    folder, gguf = (checkpoint.parent, {"gguf_file": checkpoint.name}) if checkpoint.suffix == ".gguf" else (checkpoint, {})
    if not checkpoint.exists():  # else transformers takes it for a name on the network, and says so
        raise ConfigError(f"{checkpoint} does not exist; a Hugging Face folder or a GGUF file holds what {kind.__name__} reads")
    try:
        return kind.from_pretrained(folder, local_files_only=True, **gguf, **options)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{checkpoint} holds nothing that {kind.__name__} reads: {' '.join(str(error).split())[:200]}") from error
