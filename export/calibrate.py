"""Ranges of a UNet's layers over real captions: forward hooks that keep running maxima, whatever is drawn.

An input has one maximum a channel, for SmoothQuant (Xiao et al., arXiv 2211.10438): channel k of the input is multiplied by
w_k^(1-a) / x_k^a and of the weight divided by it, x_k and w_k being the channel's largest magnitudes. Layers that read the same
input (query, key and value; key and value of cross attention) share the multiplier, so that the input is rounded once.
"""

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

    def see(self, name: str, values: Tensor, channel: int | None = None) -> None:
        """Over all of `values`, or for each index of dimension `channel`."""
        others = [dim for dim in range(values.ndim) if channel is None or dim != channel % values.ndim]
        largest = values.detach().abs().amax(others).float()
        before = self.found.get(name)
        self.found[name] = largest if before is None else torch.maximum(before, largest)

    def value(self, name: str) -> float:
        return float(self.found[name].max())


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


def smoothed(unet: nn.Module, maxima: Maxima, strength: float) -> dict[str, Tensor]:
    """<layer>.premul [in] float32 by layer, for `strength` a in (0, 1); nothing for 0."""
    premuls: dict[str, Tensor] = {}
    if not strength:
        return premuls
    for name, seen in maxima.found.items():
        if name.endswith(":"):
            continue
        weight = torch.stack([unet.get_submodule(one).weight.float().abs().transpose(0, 1).flatten(1).amax(1)
                              for one in _sharing(name, maxima)]).amax(0)
        # a channel that was always zero, or almost, must not be blown up
        inputs, weights = (values.clamp_min(1e-3 * float(values.max()) or 1.0) for values in (seen, weight))
        premuls[f"{name}.premul"] = weights ** (1 - strength) / inputs**strength
    return premuls


def ranges(maxima: Maxima, premuls: dict[str, Tensor], **details: Any) -> Quantization:
    """The document. A layer that only ever saw zeros gets range 1, under which zeros stay zeros."""
    layers = {name: float((seen * premuls.get(f"{name}.premul", torch.ones(()))).max()) or 1.0
              for name, seen in maxima.found.items() if not name.endswith(":")}
    attentions = sorted({name.rpartition(".")[0] for name in maxima.found if name.endswith(":")})
    return Quantization(source="calibrated", layers=layers, attentions={
        name: AttentionRange(**{field: maxima.value(f"{name}.{part}:") or 1.0 for part, field in _PARTS.items()}) for name in attentions},
        **details)


def _sharing(name: str, maxima: Maxima) -> list[str]:
    """The layers that read what `name` reads, itself among them."""
    parent, _, last = name.rpartition(".")
    fused = next((group for group in (("to_q", "to_k", "to_v"), ("to_k", "to_v")) if last in group
                  and all(_same(maxima.found.get(f"{parent}.{one}"), maxima.found[name]) for one in group)), (last,))
    return [f"{parent}.{one}" if parent else one for one in fused]


def _same(first: Tensor | None, second: Tensor) -> bool:
    return first is not None and first.shape == second.shape and bool((first == second).all())


def _input_hook(maxima: Maxima, name: str) -> Any:
    def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        maxima.see(name, arguments[0], channel=1 if isinstance(module, nn.Conv2d) else -1)
    return hook


def _output_hook(maxima: Maxima, name: str) -> Any:
    def hook(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        maxima.see(name, output)
    return hook
