"""Ranges of a UNet's layers over real captions: forward hooks that keep running maxima and a bounded draw of each layer's input.

What rounding does to the picture was measured on sdxl-nano (docs/QUANTIZATION.md), and decides how int8 inputs are rounded:

- Errors of the weights hardly matter, those of the inputs do: a weight's is the same for both halves of guidance, which takes it
  out again, an input's is not, and is multiplied by about 11 (guidance 8). So each input channel has the step that rounds it
  best, and the weights take up the factor: SmoothQuant (Xiao et al., arXiv 2211.10438) at full strength.
- Only what is rounded in the last two of 20 steps reaches the latents; the sampler takes out the rest. Inputs of earlier steps
  weigh less (`early_weight`).
- After SiLU no input is below -0.28, and a code of zero in the middle wastes half of the codes: it moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from export.precision import FLOAT_LAYERS
from export.quantization import INPUT_STEP, OUTPUT_SHIFT, AttentionRange, Quantization
from export.quantized_layers import INT8, encode, encode_weight

ROWS_BYTES = 4 << 20  # of one layer's input
LATE_STEPS = 2
_PARTS = {"to_q": "query_amax", "to_k": "key_amax", "to_v": "value_amax"}
_ZEROS = (0, -32, -64, -80, -96, -104, -112)
_CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.42, 0.35, 0.3)  # of the largest magnitude seen
_LEAST = 1e-3  # of the largest step: a channel that was always zero, or almost, must not be blown up


class Maxima:
    """Largest magnitudes by name. Nothing that it is shown is kept."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {}

    def see(self, name: str, values: Tensor) -> None:
        self.found[name] = max(self.found.get(name, 0.0), float(values.detach().abs().max()))

    def value(self, name: str) -> float:
        """Something that only ever saw zeros gets range 1, under which zeros stay zeros."""
        return self.found[name] or 1.0


class Rows:
    """Rows [n, channels] of each layer's input, half of them of the last steps: ROWS_BYTES a layer, however many calls it sees."""

    def __init__(self, steps: int, calls: int) -> None:
        """steps: of one sampling; calls: how often each layer will be called in all."""
        self.steps, self.late = steps, min(LATE_STEPS, steps)
        self.calls = {True: calls * self.late / steps, False: calls * (steps - self.late) / steps}
        self.kept: dict[str, list[tuple[bool, Tensor]]] = {}
        self.seen: dict[str, int] = {}
        self.draw = torch.Generator().manual_seed(0)

    def see(self, name: str, values: Tensor, convolves: bool) -> None:
        """values [..., channels], or [B, channels, H, W] of a convolution."""
        late = self.seen.get(name, 0) % self.steps >= self.steps - self.late
        self.seen[name] = self.seen.get(name, 0) + 1
        channels = values.shape[1 if convolves else -1]
        wanted = ROWS_BYTES / (4 * channels) / 2 / self.calls[late]
        count = int(wanted) + int(torch.rand((), generator=self.draw) < wanted % 1)
        index = torch.randint(values.numel() // channels, (count,), generator=self.draw)
        if convolves:
            width, area = values.shape[3], values.shape[2] * values.shape[3]
            rows = values[index // area, :, index % area // width, index % width]
        else:
            rows = values.reshape(-1, channels)[index]
        self.kept.setdefault(name, []).append((late, rows.detach().float()))

    def of(self, name: str, early_weight: float) -> tuple[Tensor, Tensor]:
        """Rows [n, channels] and the weight [n] of each: all of a late step weigh 1 together, of an early one early_weight."""
        rows = torch.cat([part for _, part in self.kept[name]])
        late = torch.cat([torch.full((len(part),), late) for late, part in self.kept[name]])
        weights = torch.where(late, self.late / late.sum().clamp_min(1), (self.steps - self.late) * early_weight / (~late).sum().clamp_min(1))
        return rows, weights / weights.sum()


@contextmanager
def observed(unet: nn.Module, rows: Rows) -> Iterator[Maxima]:
    """While it lasts, every call of `unet` adds to the maxima (<layer> for inputs, <attention>.to_q|to_k|to_v: for its outputs) and rows."""
    from diffusers.models.attention_processor import Attention

    maxima, handles, readers = Maxima(), [], shared_inputs(unet)
    for name, child in unet.named_modules():
        if isinstance(child, (nn.Linear, nn.Conv2d)):
            handles.append(child.register_forward_pre_hook(_input_hook(maxima, rows if name in readers else None, name)))
        if isinstance(child, Attention):
            handles += [getattr(child, part).register_forward_hook(_output_hook(maxima, f"{name}.{part}:")) for part in _PARTS]
    try:
        yield maxima
    finally:
        for handle in handles:
            handle.remove()


def shared_inputs(unet: nn.Module) -> dict[str, list[str]]:
    """The first layer that reads an input -> all that read it; layers that stay float in every precision are left out."""
    from diffusers.models.attention_processor import Attention

    first: dict[str, str] = {}
    for name, child in unet.named_modules():
        if isinstance(child, Attention):
            parts = ("to_k", "to_v") if child.is_cross_attention else ("to_q", "to_k", "to_v")
            first |= {f"{name}.{part}": f"{name}.{parts[0]}" for part in parts}
    readers: dict[str, list[str]] = {}
    for name, child in unet.named_modules():
        if isinstance(child, (nn.Linear, nn.Conv2d)) and not any(part in name for part in FLOAT_LAYERS):
            readers.setdefault(first.get(name, name), []).append(name)
    return readers


@torch.no_grad()
def input_codes(rows: Tensor, weights: Tensor, reach: Tensor, movable: bool) -> tuple[Tensor, int]:
    """The steps [channels] and the code of zero that round `rows` [n, channels] best: least sum over channels of error^2 x reach.

    weights: [n] of the rows; reach: [channels], squares of what reads them; movable: the code of zero need not be 0.
    """
    high, low = rows.amax(0).clamp_min(0), rows.amin(0).clamp_max(0).neg()
    found: tuple[float, Tensor, int] | None = None
    for zero in _ZEROS if movable and low.max() < high.max() / 2 else (0,):
        whole = torch.maximum(high / (127 - zero), low / (128 + zero))
        whole = whole.clamp_min(_LEAST * float(whole.max()) or 1.0)
        least, steps = torch.full_like(whole, torch.inf), whole
        for clip in _CLIPS:
            step = whole * clip
            error = (((encode(rows / step, INT8, zero).float() - zero) * step - rows).square() * weights[:, None]).sum(0)
            least, steps = torch.where(error < least, error, least), torch.where(error < least, step, steps)
        total = float((least * reach).sum())
        if found is None or total < found[0]:
            found = total, steps, zero
    assert found is not None
    return found[1], found[2]


@torch.no_grad()
def fitted(unet: nn.Module, rows: Rows, early_weight: float) -> tuple[dict[str, Tensor], dict[str, int]]:
    """<layer>.input_step and <layer>.output_shift by name, and the codes of zero that are not 0."""
    tensors: dict[str, Tensor] = {}
    zeros: dict[str, int] = {}
    for first, readers in shared_inputs(unet).items():
        if first not in rows.kept:
            continue
        layers = [unet.get_submodule(name) for name in readers]
        values, weights = rows.of(first, early_weight)
        reach = sum(layer.weight.float().square().transpose(0, 1).flatten(1).sum(1) for layer in layers)
        step, zero = input_codes(values, weights, reach, all(layer.bias is not None for layer in layers))
        rounded = (encode(values / step, INT8, zero).float() - zero) * step
        means = [(part * weights[:, None]).sum(0) for part in (values, rounded)]
        for name, layer in zip(readers, layers, strict=True):
            tensors[f"{name}.{INPUT_STEP}"], tensors[f"{name}.{OUTPUT_SHIFT}"] = step, _shift(layer.weight.float(), step, means)
            if zero:
                zeros[name] = zero
    return tensors, zeros


def ranges(maxima: Maxima, **details: Any) -> Quantization:
    """The document."""
    layers = {name: maxima.value(name) for name in maxima.found if not name.endswith(":")}
    attentions = sorted({name.rpartition(".")[0] for name in maxima.found if name.endswith(":")})
    return Quantization(source="calibrated", layers=layers, attentions={
        name: AttentionRange(**{field: maxima.value(f"{name}.{part}:") for part, field in _PARTS.items()}) for name in attentions}, **details)


def _shift(weight: Tensor, step: Tensor, means: Sequence[Tensor]) -> Tensor:
    """[out]: the mean output of the rounded layer less the layer's, away from the edges. means [in]: of the input, as it is and rounded."""
    factor = step.view(1, -1, *(1 for _ in weight.shape[2:]))
    codes, scale = encode_weight(weight * factor, INT8)
    rounded = codes.float() * scale.view(-1, *(1 for _ in weight.shape[1:])) / factor
    plain, ours = (part.flatten(2).sum(2) if part.ndim > 2 else part for part in (weight, rounded))
    return ours @ means[1] - plain @ means[0]


def _input_hook(maxima: Maxima, rows: Rows | None, name: str) -> Any:
    def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        maxima.see(name, arguments[0])
        if rows is not None:
            rows.see(name, arguments[0], isinstance(module, nn.Conv2d))
    return hook


def _output_hook(maxima: Maxima, name: str) -> Any:
    def hook(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        maxima.see(name, output)
    return hook
