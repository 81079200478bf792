"""One contestant of scripts/shark_side_by_side.py, in a process of its own: shortfin, or our device pool.

    python scripts/shark_contestant.py '{"kind": "pool", ...}'      # the keys: `Contest`

Prints one JSON line when it is ready and warm. Then, for every line `{"rows": [0, 1, ...], "images": PATH or null}` on
stdin, it draws those rows of the sample set and prints `{"wall": seconds, "cpu": seconds, "count": images}`: from the line
read to the last image as uint8 on the host, CPU of all threads. It ends when stdin does. `Running` is the other end of this,
in the process that asks. Runs in either environment, so it imports torch nowhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from compile import manifest as manifests
from export.model_config import MODULES, ModelConfig
from ireeperf import samples as sample_sets
from ireeperf.errors import RunError
from ireeperf.samples import ARRAYS, SampleSet

ENTRY_POINTS = {"clip": ("encode_prompts",), "scheduled_unet": ("run_initialize", "run_forward"), "vae": ("decode",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What a contestant is told."""

    kind: str  # shortfin, pool
    build: str  # folder of ours: model and parameter archives
    executables: dict[str, str]  # module -> .vmfb
    samples: str
    batch_size: int
    workers: int  # devices of the pool, or shortfin's workers on its one CPU device
    driver: str = "local-sync"  # of the pool
    threads: int = 1  # of each of the pool's devices
    # False: the pool is not to believe coarse-fences, which shortfin's executables say of both forms of an entry point
    reflection: bool = True


class Running:
    """A contestant's process, as the conductor sees it."""

    def __init__(self, name: str, python: Path, contest: Contest, timeout: float) -> None:
        self.name, self._timeout = name, timeout
        self._process = subprocess.Popen([python, "-u", __file__, json.dumps(asdict(contest))],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._read = b""
        self.about = self._answer()

    def draw(self, rows: list[int], images: Path | None) -> dict[str, Any]:
        """{wall, cpu, count} of one round; RunError when it ended or hangs."""
        self._process.stdin.write(json.dumps({"rows": rows, "images": str(images) if images else None}).encode() + b"\n")
        return self._answer()

    def stop(self) -> None:
        """Kill it: a contestant may hang in its runtime's teardown."""
        self._process.kill()
        with self._process:  # closes the pipes and waits
            pass

    def _answer(self) -> dict[str, Any]:
        deadline = time.monotonic() + self._timeout
        while True:
            line, ended, self._read = self._read.partition(b"\n")
            if ended:  # a line; those that are no JSON are a library's own words
                if line.startswith(b"{"):
                    return json.loads(line)  # type: ignore[no-any-return]
                continue
            self._read = line
            if not select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                self.stop()
                raise RunError(f"{self.name} did not answer in {self._timeout:g} s; give it --timeout, "
                               "or take it out with --only")
            chunk = os.read(self._process.stdout.fileno(), 65536)
            if not chunk:
                code = self._process.wait(60)
                self.stop()
                raise RunError(f"{self.name} ended with {code}; its own words are above")
            self._read += chunk


def serve(draw: Callable[[list[int]], np.ndarray]) -> None:
    """Answer stdin's lines until it ends. `draw`: rows -> images [N, H, W, 3] uint8."""
    for line in sys.stdin:
        asked = json.loads(line)
        cpu, wall = time.process_time(), time.perf_counter()
        images = draw(asked["rows"])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if asked["images"] is not None:
            np.save(asked["images"], images)
        print(json.dumps({"wall": wall, "cpu": cpu, "count": len(images)}), flush=True)


def ready(**found: Any) -> None:
    versions = {name: metadata.version(name) for name in ("iree-base-runtime", "shortfin") if _installed(name)}
    print(json.dumps({"ready": True, "versions": versions, **found}), flush=True)


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def run_pool(contest: Contest, model: ModelConfig, archives: dict[str, tuple[str, Path]], samples: SampleSet) -> None:
    """Our pool as the Offline harness drives it, without LoadGen."""
    from runtime import sdxl_loop
    from runtime.batch import Ended, Issue, Sample
    from runtime.batching import Throughput
    from runtime.iree_device import Build, IreeEngine
    from runtime.policy import FifoPolicy, Respond
    from runtime.pool import DevicePool, thread_devices

    if not contest.reflection:
        sdxl_loop.FENCED = "not believed"  # so it calls the plain entry points, as those of our builds
    size = contest.batch_size
    build = Build(model=model, sizes=(size,), archives=archives,
                  executables={(module, size): Path(path) for module, path in contest.executables.items()})
    uris = [f"{contest.driver}://{index}" for index in range(contest.workers)]
    policy = FifoPolicy(uris, batching=Throughput([size]), open_seconds=600, on_loss="fail", now_ns=time.monotonic_ns())
    pool = DevicePool(thread_devices({uri: IreeEngine(uri, build, samples, contest.threads) for uri in uris}), policy)
    pool.open()

    def draw(rows: list[int]) -> np.ndarray:
        images: dict[int, np.ndarray] = {}

        def respond(answer: Respond) -> None:
            for sample, image in zip(answer.batch.samples, answer.completion.answers, strict=True):
                images[sample.id] = image
            if len(images) == len(rows):
                pool.post(Ended(cause=None))

        pool.post(Issue(samples=tuple(Sample(id=slot, index=row) for slot, row in enumerate(rows))))
        pool.serve(respond)
        return np.stack([images[slot] for slot in range(len(rows))])

    ready(devices=uris)
    serve(draw)
    pool.close()


def run_shortfin(contest: Contest, model: ModelConfig, archives: dict[str, tuple[str, Path]], samples: SampleSet) -> None:
    """shortfin's own way, after shortfin_apps/sd of wheel 3.9.0: a fiber a worker, an awaited invocation a step."""
    import shortfin as sf

    system = sf.host.CPUSystemBuilder().create_system()
    # workers before run(): after it, create_worker may hang for good (amd-shark-ai#906)
    workers = [system.create_worker(f"worker{index}") for index in range(contest.workers)]
    fibers = [system.create_fiber(worker, devices=[system.devices[0]]) for worker in workers]
    functions = [_functions(sf, system, fiber, model, contest, archives) for fiber in fibers]
    rounds = _Rounds(sf, fibers, functions, model, samples, contest.batch_size)
    system.run(rounds.main(system.device_names))  # once: it shuts the system down when it returns


def _functions(sf: Any, system: Any, fiber: Any, model: ModelConfig, contest: Contest,
               archives: dict[str, tuple[str, Path]]) -> dict[str, Any]:
    """Entry point -> shortfin function, of the $async form (their reflection says coarse-fences)."""
    found = {}
    for module, names in ENTRY_POINTS.items():
        scope, path = archives[module]
        parameters = sf.StaticProgramParameters(system, parameter_scope=scope)
        parameters.load(str(path))
        program = sf.Program([sf.ProgramModule.parameter_provider(system, parameters),
                              sf.ProgramModule.load(system, contest.executables[module], mmap=True)],
                             devices=fiber.raw_devices, isolation=sf.ProgramIsolation.PER_FIBER)
        found |= {name: program[f"{model.module_names[module]}.{name}$async"] for name in names}
    return found


class _Rounds:
    """Draws the rounds that stdin asks for, inside shortfin's own loop."""

    def __init__(self, sf: Any, fibers: Sequence[Any], functions: Sequence[dict[str, Any]], model: ModelConfig,
                 samples: SampleSet, size: int) -> None:
        self._sf, self._fibers, self._functions, self._samples, self._size = sf, fibers, functions, samples, size
        self._guidance = [self._to_device(fiber, np.array([model.guidance_scale], np.float32)) for fiber in fibers]
        self._steps = [[self._to_device(fiber, np.array([step], np.int64)) for step in range(model.num_inference_steps)]
                       for fiber in fibers]

    async def main(self, devices: list[str]) -> None:
        await self.draw([0] * self._size * len(self._fibers))  # warm-up: every worker once
        ready(devices=devices)
        for line in sys.stdin:  # blocks this worker only, between rounds
            asked = json.loads(line)
            cpu, wall = time.process_time(), time.perf_counter()
            images = await self.draw(asked["rows"])
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if asked["images"] is not None:
                np.save(asked["images"], images)
            print(json.dumps({"wall": wall, "cpu": cpu, "count": len(images)}), flush=True)

    async def draw(self, rows: list[int]) -> np.ndarray:
        """Images of `rows`; idle workers take the next batch."""
        rounds, waiting = self, [(first, rows[first:first + self._size]) for first in range(0, len(rows), self._size)]
        drawn: dict[int, np.ndarray] = {}

        class Worker(self._sf.Process):  # type: ignore[name-defined, misc]
            def __init__(self, index: int) -> None:
                super().__init__(fiber=rounds._fibers[index])
                self.index = index

            async def run(self) -> None:
                try:
                    while waiting:
                        first, batch = waiting.pop(0)
                        drawn[first] = await rounds._batch(self.index, batch)
                except BaseException:
                    traceback.print_exc()  # raised from here it would be printed and its awaiter told of success
                    os._exit(1)

        await asyncio.gather(*[Worker(index).launch() for index in range(len(self._fibers))])
        return np.concatenate([drawn[first] for first in sorted(drawn)])

    async def _batch(self, index: int, rows: list[int]) -> np.ndarray:
        fiber, call = self._fibers[index], self._functions[index]
        ids = [self._to_device(fiber, np.take(getattr(self._samples, name), rows, axis=0).astype(np.int64, copy=False))
               for name in ARRAYS[:4]]
        shared = np.broadcast_to(self._samples.latents, (len(rows), *self._samples.latents.shape[1:]))
        prompt_embeds, text_embeds = await call["encode_prompts"](*ids, fiber=fiber)
        latents, time_ids = await call["run_initialize"](self._to_device(fiber, np.ascontiguousarray(shared)), fiber=fiber)
        for step in self._steps[index]:
            latents, = await call["run_forward"](latents, prompt_embeds, text_embeds, time_ids, self._guidance[index], step,
                                                 fiber=fiber)
        images, = await call["decode"](latents, fiber=fiber)
        host = images.for_transfer()
        host.copy_from(images)
        await fiber.device(0)
        return np.frombuffer(host.items, np.uint8).reshape(images.shape).copy()

    def _to_device(self, fiber: Any, array: np.ndarray) -> Any:
        kinds = {"int64": self._sf.array.sint64, "float32": self._sf.array.float32}
        placed = self._sf.array.device_array.for_device(fiber.device(0), list(array.shape), kinds[array.dtype.name])
        staged = placed.for_transfer()
        with staged.map(discard=True) as mapping:
            mapping.fill(array)
        placed.copy_from(staged)
        return placed


def main(argv: Sequence[str]) -> int:
    contest = Contest(**json.loads(argv[0]))
    folder = Path(contest.build)
    manifest = manifests.read(folder)
    archives = {}
    for module in MODULES:
        archive = manifest.archive(module)
        assert archive is not None  # checked by the conductor
        archives[module] = archive.scope, manifests.check_file(folder, archive.path, archive.sha256)
    samples = sample_sets.read(Path(contest.samples))
    {"pool": run_pool, "shortfin": run_shortfin}[contest.kind](contest, manifest.model, archives, samples)
    return 0


if __name__ == "__main__":
    from ireeperf.errors import exit_code

    raise SystemExit(exit_code(lambda: main(sys.argv[1:])))
