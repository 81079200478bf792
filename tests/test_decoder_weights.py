"""export.decoder_weights on files that are broken or of another model: one error that names the file, never a traceback of a library."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import decoder_weights
from export.decoder_config import RopeScaling
from ireeperf.errors import ConfigError
from tests.tiny_decoder import CONFIG

STRETCHED = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
SCALING = RopeScaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)


def folder(path: Path, stated: str, weights: bytes = b"no header") -> Path:
    (path / "config.json").write_text(stated)
    (path / "model.safetensors").write_bytes(weights)
    return path


@pytest.mark.parametrize(("stated", "words"), [("no json", "JSONDecodeError"), ("[1]", "AttributeError"), ("{}", "SafetensorError"),
                                               ('{"rms_norm_eps": "small"}', "TypeError")])
def test_a_broken_folder_is_named(stated: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"cannot be read \({words}: .*fetch the checkpoint again"):
        decoder_weights.load(CONFIG, folder(tmp_path, stated))


@pytest.mark.parametrize(("stated", "ours", "words"), [
    ({"rope_scaling": STRETCHED}, None, "the model JSON None"), ({"rope_parameters": STRETCHED | {"factor": 32.0}}, SCALING, "'factor': 32.0"),
    ({"rope_scaling": None}, SCALING, "says rope_scaling default"), ({"rope_scaling": {"type": "linear", "factor": 2.0}}, None, "says rope_scaling linear")])
def test_rotary_frequencies_of_another_scaling_are_refused(stated: dict[str, Any], ours: RopeScaling | None, words: str, tmp_path: Path) -> None:
    """No tensor would tell: the answers would be wrong at long positions only."""
    with pytest.raises(ConfigError, match=words):
        decoder_weights.load(dataclasses.replace(CONFIG, rope_scaling=ours), folder(tmp_path, json.dumps(stated)))


def test_the_same_scaling_is_read_further(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SafetensorError"):
        decoder_weights.load(dataclasses.replace(CONFIG, rope_scaling=SCALING), folder(tmp_path, json.dumps({"rope_scaling": STRETCHED})))


def test_a_broken_gguf_file_and_a_foreign_tensor_are_named(tmp_path: Path) -> None:
    from gguf import GGUFWriter

    path = tmp_path / "x.gguf"
    path.write_bytes(b"hello, world" * 9)
    with pytest.raises(ConfigError, match=r"x.gguf cannot be read \(ValueError: GGUF magic invalid"):
        decoder_weights.load(CONFIG, path)
    writer = GGUFWriter(path, "llama")
    writer.add_tensor("rope_freqs.weight", np.ones(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ConfigError, match="has rope_freqs.weight, which tiny has no place for"):
        decoder_weights.load(CONFIG, path)
