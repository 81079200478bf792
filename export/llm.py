"""Export a decoder to one MLIR module with prefill and decode, and its weights to a parameter archive.

    python -m export.llm --model-json export/configs/smollm2_135m_fp32.json --checkpoint SmolLM2-135M-Instruct.Q4_1.gguf --output DIR
    python -m export.llm --model-json export/configs/llama2_70b_fp16.json --checkpoint none --output DIR

Writes decoder.mlir, and decoder.irpa (not with --checkpoint none). Entry points: prefill_bs<N>_len<S>, decode_bs<N>.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from export import decoder_config, torch_setup
from export.checkpoint_files import NO_CHECKPOINT
from export.decoder_config import DecoderConfig
from export.decoder_files import MODULE, entry_points
from ireeperf.errors import ConfigError, ExportError, exit_code

if TYPE_CHECKING:
    import torch

    from export.decoder import Decoder

_CACHE = re.compile(r"(?P<head>util\.global private mutable @\S+ = )dense_resource<[^>]+>(?P<type> : tensor<[^>]+>)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """The command line."""

    model_json: Path
    checkpoint: str
    output: Path


def parse(argv: Sequence[str] | None = None) -> ExportSettings:
    parser = argparse.ArgumentParser(prog="export.llm", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--model-json", type=Path, required=True, help="decoder config: export/configs/*.json")
    parser.add_argument("--checkpoint", required=True, help="Hugging Face folder or GGUF file, or none: the graph without weights")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    return ExportSettings(**vars(parser.parse_args(argv)))


def export_decoder(config: DecoderConfig, checkpoint: str, output: Path) -> list[Path]:
    """Write the decoder's MLIR and archive into `output`; the files written."""
    from iree.turbine import aot

    from export import decoder_weights  # torch

    decoder = decoder_weights.without_weights(config) if checkpoint == NO_CHECKPOINT else decoder_weights.load(config, Path(checkpoint))
    aot.externalize_module_parameters(decoder, external_scope="model")
    decoder.add_cache()
    written = [output / f"{MODULE}.mlir"]
    write_mlir(decoder, written[0])
    if checkpoint != NO_CHECKPOINT:
        written.append(output / f"{MODULE}.irpa")
        partial = output / f".{MODULE}.partial.irpa"
        aot.save_module_parameters(partial, decoder)
        partial.replace(written[-1])
    return written


def write_mlir(decoder: Decoder, path: Path) -> None:
    """Trace every entry point into one MLIR module; they share the weights and the cache."""
    import torch
    from iree.turbine import aot

    programs, config = aot.FxProgramsBuilder(decoder), decoder.config
    arguments: dict[str, tuple[torch.Tensor, ...]] = {}
    for size in config.prefill_batch_sizes:
        for length in config.prefill_lengths:
            pages = torch.zeros(size, length // config.page_tokens, dtype=torch.int64)
            arguments[f"prefill_bs{size}_len{length}"] = torch.zeros(size, length, dtype=torch.int64), torch.ones(size, dtype=torch.int64), pages
    for size in config.decode_batch_sizes:
        ones = torch.ones(size, dtype=torch.int64)
        arguments[f"decode_bs{size}"] = ones, ones.clone(), torch.zeros(size, config.pages_per_sequence, dtype=torch.int64)
    for name, example in arguments.items():
        method = type(decoder).prefill if name.startswith("prefill") else type(decoder).decode
        try:
            with torch.no_grad():
                programs.export_program(method, args=example, name=name, strict=False)
        except Exception as error:  # torch.export raises whatever the traced code raises
            raise ExportError(f"{name} of {config.model} cannot be traced: {type(error).__name__}: {str(error)[:300]}") from error
    partial = path.with_name(f".{path.stem}.partial.mlir")
    aot.export(programs, module_name=MODULE, import_symbolic_shape_expressions=True).save_mlir(partial)
    partial.write_text(with_splat_cache(partial.read_text()))
    partial.replace(path)


def with_splat_cache(text: str) -> str:
    """`text` with the cache's zeros as a splat instead of a blob as large as the cache."""
    text, found = _CACHE.subn(r"\g<head>dense<0.000000e+00>\g<type>", text)
    if found != 1:
        raise ExportError(f"the exported module has {found} mutable globals, expected one: the KV cache")
    return text.partition("\n{-#")[0].rstrip() + "\n"


def main() -> int:
    settings = parse()
    config = decoder_config.read(settings.model_json)
    print(f"export {settings.model_json} checkpoint {settings.checkpoint} to {settings.output}", flush=True)
    torch_setup.prepare()
    started = time.monotonic()
    try:
        settings.output.mkdir(parents=True, exist_ok=True)
        files = export_decoder(config, settings.checkpoint, settings.output)
    except OSError as error:
        raise ConfigError(f"cannot write {settings.output}: {error.strerror}; free the disk or choose another --output") from error
    print(json.dumps({"files": [path.name for path in files], "entry_points": entry_points(config), "seconds": round(time.monotonic() - started, 2)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
