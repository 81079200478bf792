"""What the three training stages share: one captured CUDA graph a step, moving average, schedule, curve, restart files."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

Loss = Callable[[], torch.Tensor]  # draws its own batch on the device; no arguments, so that a graph can replay it


@dataclass(slots=True, kw_only=True)
class Schedule:
    """Learning rate over the stage's seconds: linear warm-up in steps, then cosine to `last` of `peak` at `seconds`."""

    seconds: float
    peak: float
    warmup: int = 300
    last: float = 0.01
    spent: float = 0.0  # seconds trained by earlier calls of a restarted stage

    def at(self, step: int, elapsed: float) -> float:
        """Learning rate at `step` of this call, `elapsed` seconds into it."""
        done = min(1.0, (self.spent + elapsed) / self.seconds)
        return self.peak * min(1.0, (step + 1) / self.warmup) * (self.last + (1 - self.last) * 0.5 * (1 + math.cos(math.pi * done)))


@dataclass(slots=True, kw_only=True)
class Trainer:
    """AdamW, gradient clipping and an exponential moving average over `modules`; one step is one CUDA graph replay."""

    modules: dict[str, torch.nn.Module]
    loss: Loss
    schedule: Schedule
    decay: float = 0.999
    weight_decay: float = 0.01
    clip: float = 1.0
    curve: list[tuple[int, float, float]] = field(default_factory=list)  # step, seconds in the stage, mean loss
    steps: int = 0
    average: dict[str, torch.Tensor] = field(default_factory=dict)

    def named(self) -> list[tuple[str, torch.Tensor]]:
        """Everything that is saved: parameters and floating-point buffers, as module/name."""
        return [(f"{prefix}/{name}", tensor) for prefix, module in self.modules.items()
                for name, tensor in module.state_dict().items() if tensor.is_floating_point()]

    def run(self, seconds: float, record_every: int = 100) -> float:
        """Train for `seconds` (capture not counted) and return steps per second. Continues from `steps`, `average`."""
        device = next(next(iter(self.modules.values())).parameters()).device
        parameters = [p for module in self.modules.values() for p in module.parameters()]
        rate = torch.zeros((), device=device)
        optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.99), weight_decay=self.weight_decay,
                                      fused=device.type == "cuda", capturable=device.type == "cuda")
        self.average = self.average or {name: tensor.detach().clone() for name, tensor in self.named()}
        live, kept = [tensor.detach() for _, tensor in self.named()], [self.average[name] for name, _ in self.named()]
        mix = torch.zeros((), device=device)
        total = torch.zeros((), device=device)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            loss = self.loss()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, self.clip, foreach=True)
            optimizer.step()
            torch._foreach_mul_(kept, 1 - mix)  # not lerp: that reads mix on the host, which a graph cannot
            torch._foreach_add_(kept, torch._foreach_mul(live, mix))
            total.add_(loss.detach())

        replay = self._capture(step, device)
        total.zero_()
        return self._loop(replay, seconds, record_every, rate=rate, mix=mix, total=total)

    def _capture(self, step: Callable[[], None], device: torch.device) -> Callable[[], object]:
        """Warm up at learning rate zero, then record `step`; on a CPU `step` itself."""
        if device.type != "cuda":
            return step
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(4):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        return graph.replay

    def _loop(self, replay: Callable[[], object], seconds: float, record_every: int, *,
              rate: torch.Tensor, mix: torch.Tensor, total: torch.Tensor) -> float:
        started, first = time.monotonic(), self.steps
        while (elapsed := time.monotonic() - started) < seconds:
            done = self.steps - first
            rate.fill_(self.schedule.at(done, elapsed))
            mix.fill_(1 - min(self.decay, (1 + self.steps) / (10 + self.steps)))
            replay()
            self.steps += 1
            if (done + 1) % record_every == 0:  # .item() waits, so the host is never far ahead of the device
                self.curve.append((self.steps, round(self.schedule.spent + elapsed, 2), total.item() / record_every))
                total.zero_()
        return (self.steps - first) / (time.monotonic() - started)

    def load_average(self) -> None:
        """Put the moving average into the modules: what is evaluated and shipped."""
        with torch.no_grad():
            for name, tensor in self.named():
                tensor.copy_(self.average[name])


def save_state(path: Path, trainer: Trainer) -> None:
    """Restart file of a stage: weights, moving average, steps, curve, seconds (the optimizer warms up again)."""
    state = {"weights": {name: tensor.cpu() for name, tensor in trainer.named()}, "steps": trainer.steps,
             "average": {name: tensor.cpu() for name, tensor in trainer.average.items()}, "curve": trainer.curve}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)


def load_state(path: Path, trainer: Trainer) -> None:
    """Continue a stage from its restart file: weights, average, steps, curve and the seconds already spent."""
    state = torch.load(path, weights_only=True)
    with torch.no_grad():
        for name, tensor in trainer.named():
            tensor.copy_(state["weights"][name])
    device = next(iter(dict(trainer.named()).values())).device
    trainer.average = {name: tensor.to(device) for name, tensor in state["average"].items()}
    trainer.steps, trainer.curve = state["steps"], [tuple(row) for row in state["curve"]]
    trainer.schedule.spent = trainer.curve[-1][1] if trainer.curve else 0.0


def write_curve(path: Path, rows: Sequence[tuple[str, int, float, float]]) -> None:
    """curve.csv: stage, step, seconds into the stage, mean loss since the row before."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("stage", "step", "seconds", "loss"))
        writer.writerows((stage, step, seconds, f"{loss:.5f}") for stage, step, seconds, loss in rows)
