"""Ranges of a UNet's layers over real captions: forward hooks that keep one running maximum a tensor, whatever is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from export.quantization import AttentionRange, Quantization

_PARTS = {"to_q": "query_amax", "to_k": "key_amax", "to_v": "value_amax"}


class Maxima:
    """Largest magnitudes by name. Nothing that it is shown is kept."""

    def __init__(self) -> None:
        self.found: dict[str, Tensor] = {}

    def see(self, name: str, values: Tensor) -> None:
        largest = values.detach().abs().amax().float()
        before = self.found.get(name)
        self.found[name] = largest if before is None else torch.maximum(before, largest)

    def value(self, name: str) -> float:
        return float(self.found[name])


@contextmanager
def observed(unet: nn.Module) -> Iterator[Maxima]:
    """While it lasts, every call of `unet` adds to the maxima: <layer> for inputs, <attention>.to_q|to_k|to_v: for its outputs."""
    from diffusers.models.attention_processor import Attention

    maxima, handles = Maxima(), []
    for name, child in unet.named_modules():
        if isinstance(child, (nn.Linear, nn.Conv2d)):
            handles.append(child.register_forward_pre_hook(_input_hook(maxima, name)))
        if isinstance(child, Attention):
            handles += [getattr(child, part).register_forward_hook(_output_hook(maxima, f"{name}.{part}:")) for part in _PARTS]
    try:
        yield maxima
    finally:
        for handle in handles:
            handle.remove()


def ranges(maxima: Maxima, **details: Any) -> Quantization:
    """The document. A layer that only ever saw zeros gets range 1, under which zeros stay zeros."""
    layers = {name: maxima.value(name) or 1.0 for name in maxima.found if not name.endswith(":")}
    attentions = sorted({name.rpartition(".")[0] for name in maxima.found if name.endswith(":")})
    return Quantization(source="calibrated", layers=layers, attentions={
        name: AttentionRange(**{field: maxima.value(f"{name}.{part}:") or 1.0 for part, field in _PARTS.items()}) for name in attentions},
        **details)


def _input_hook(maxima: Maxima, name: str) -> Any:
    def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        maxima.see(name, arguments[0])
    return hook


def _output_hook(maxima: Maxima, name: str) -> Any:
    def hook(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        maxima.see(name, output)
    return hook
