"""Measures an archive of compile.tune: dispatches' candidates in one process on one device, whole modules in one each.

    python compile/tune_archive.py PACK.json RESULTS.json [SECONDS]     # all of it, or what SECONDS allow; iree.runtime and numpy suffice

The results are written after every candidate. A candidate that ends the process is a result, and the next ones get another process.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from compile import tune_runner

SILENCE_SECONDS = 120  # without a word from the measuring process: a kernel that never ends
MODULE_SECONDS = 900


class Bench:
    """One device whose memory all dispatches of an archive share: data as it was, and data that is worked on."""

    def __init__(self, config: Any, count: int, dtype: str) -> None:
        import iree.runtime as rt

        self.config, self.data = config, tune_runner.drawn(count, dtype)
        self.was, self.work = (rt.asdevicearray(config.device, self.data) for _ in range(2))

    def restore(self, was: Any, work: Any) -> None:
        """Copy one buffer over another on the device."""
        done = self.config.device.create_semaphore(0)
        self.config.device.queue_copy(was.get_buffer(), work.get_buffer(), [], [(done, 1)])
        done.wait(1)

    def whole(self) -> Any:
        """All of the memory that is worked on, as bytes."""
        import numpy as np

        return np.array(self.work.to_host()).view(np.uint8)


class Dispatch:
    """A dispatch of the archive, its default loaded and run once: where it writes, and what."""

    def __init__(self, bench: Bench, default: str, request: dict[str, Any], reference: str | None = None) -> None:
        import numpy as np

        self.bench, self.request = bench, request
        self.default = tune_runner.opened(default, bench.config)
        size = np.dtype(request["result_dtype"]).itemsize
        was = bench.data.view(np.uint8)[:request["bytes"] // size * size].view(f"u{size}")
        self.default["set_buffer"](bench.was)
        bench.restore(bench.was._buffer_view, bench.work._buffer_view)
        self.default["set_buffer"](bench.work)
        self.default[request["entry"]](1)
        now = bench.whole()[:was.nbytes].view(was.dtype)
        changed = np.flatnonzero(now != was)
        if not len(changed):
            raise RuntimeError("the default configuration writes nothing")
        first, last = int(changed[0]) * size // 256 * 256, (int(changed[-1]) + 1) * size
        self.place = (first, min(-(-(last - first) // 256) * 256, was.nbytes - first))
        self.was, self.expected = (np.array(part.view(np.uint8)[first:first + self.place[1]]).view(request["result_dtype"]) for part in (was, now))
        self.reference = np.load(reference) if reference else None
        # over all of the memory: a default that leaves some of its results unwritten is wrong as well
        if self.reference is not None and (error := tune_runner.explained(self.reference, now, request["result_dtype"])) > 1:
            raise RuntimeError(f"it is wrong: its error against float64 is {error:.3g} times what its roundings explain")

    def explained(self, found: Any) -> float | None:
        """Error of what lies in `place` over its tolerance against float64; None without a reference."""
        return tune_runner.explained(self.reference, found, self.request["result_dtype"], self.place[0]) if self.reference is not None else None

    def measure(self, candidate: str, rounds: int, entirely: bool) -> dict[str, Any]:
        """The runner's answer. `entirely`: what lies outside of the part that the default writes is compared as well."""
        import numpy as np

        bench, entry = self.bench, self.request["entry"]
        module = tune_runner.opened(candidate, bench.config)
        self.default["set_buffer"](bench.was)
        was = self.default["get_part"](*self.place)
        module["set_buffer"](bench.work)
        work = module["get_part"](*self.place)
        bench.restore(was._buffer_view, work._buffer_view)
        module[entry](1)
        found = np.array(work.to_host()).view(self.request["result_dtype"])
        error = tune_runner.difference(self.was, self.expected, found, self.request["result_dtype"])
        self.default["set_buffer"](bench.work)
        if entirely and error <= self.request["tolerance"]:
            now, before, (first, size) = bench.whole(), bench.data.view(np.uint8), self.place
            if not (np.array_equal(now[:first], before[:first]) and np.array_equal(now[first + size:], before[first + size:])):
                error = float("inf")
        float64 = self.explained(found)
        right = error <= self.request["tolerance"] and (float64 or 0.0) <= 1
        rounds_ = tune_runner.paired(self.default, module, self.request, rounds) if right else []
        bench.restore(was._buffer_view, work._buffer_view)
        return {"error": error if error != float("inf") else None, "rounds": rounds_} | ({} if float64 is None else {"float64": float64})


def many(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Answers to all candidates that `request["known"]` (median ratios by dispatch and candidate) lacks, and again to the best ones of
    each dispatch; before each of them one that says what begins."""
    folder, known = Path(request["pack"]).parent, request["known"]
    given = json.loads(Path(request["pack"]).read_text())
    config, bench = tune_runner.configured(given["driver"]), None
    for index, one_of in enumerate(given["dispatches"]):
        ratios = dict(known.get(str(index), {}))
        left = [number for number, candidate in enumerate(one_of["candidates"]) if candidate["outcome"] is None and str(number) not in ratios]
        if not left and "again" in ratios:
            continue
        yield {"begins": [index, None]}
        needed, dtype = max(one["request"]["bytes"] for one in given["dispatches"]), one_of["request"]["dtype"]
        if bench is None or bench.data.dtype != dtype:
            bench = Bench(config, -(-needed // (2 if dtype == "float16" else 4)), dtype)
        dispatch = Dispatch(bench, str(folder / one_of["default"]), one_of["request"], one_of["reference"] and str(folder / one_of["reference"]))
        for number in left:
            yield {"begins": [index, number]}
            answer = dispatch.measure(str(folder / one_of["candidates"][number]["file"]), one_of["request"]["rounds"], False)
            ratios[str(number)] = ratio(answer, given["clock"])
            yield {"of": [index, number], "phase": "search", "answer": answer}
        yield {"begins": [index, "again"]}
        for number in sorted((key for key in ratios if ratios[key]), key=lambda key: -ratios[key])[:given["again"]]:
            answer = dispatch.measure(str(folder / one_of["candidates"][int(number)]["file"]), given["again_rounds"], True)
            yield {"of": [index, int(number)], "phase": "again", "answer": answer}
        yield {"of": [index, "again"]}


def ratio(answer: dict[str, Any], clock: str) -> float | None:
    """Default over candidate; None without times. A CPU's by pairs; wall times by the fastest of each, for waiting only adds to them."""
    rounds = answer.get("rounds")
    if not rounds:
        return None
    if clock == "wall":
        return min(one["baseline_wall"] for one in rounds) / min(one["wall"] for one in rounds)
    return statistics.median(one[f"baseline_{clock}"] / one[clock] for one in rounds)


class Results:
    """What is known so far, on disk after every answer."""

    def __init__(self, given: dict[str, Any], output: Path) -> None:
        self.given, self.output = given, output
        self.known: dict[str, dict[str, float | None]] = {}
        self.told: dict[str, Any] = {"machine": tune_runner.machine(given["driver"]), "results": [], "modules": []}
        for index, one_of in enumerate(given["dispatches"]):
            for number, candidate in enumerate(one_of["candidates"]):
                if candidate["outcome"] is not None:
                    self.add(index, number, "search", None)

    def add(self, index: int, number: int, phase: str, answer: dict[str, Any] | None) -> None:
        one_of = self.given["dispatches"][index]
        known = {key: value for key, value in one_of["candidates"][number].items() if key != "file"}
        self.told["results"].append(known | {"scope": one_of["scope"], "tolerance": one_of["request"]["tolerance"], "clock": self.given["clock"],
                                             "phase": phase} | ({"answer": answer} if answer is not None else {}))
        if phase == "search" and answer is not None:
            self.known.setdefault(str(index), {})[str(number)] = ratio(answer, self.given["clock"])
        words = answer.get("failed") or f"error {answer['error']}, ratio {ratio(answer, self.given['clock'])}" if answer else ""
        print(f"{one_of['name']} {phase} {json.dumps(known['configuration'])}: {known['outcome'] or words}", flush=True)

    def hear(self, said: dict[str, Any]) -> None:
        """A line of the measuring process."""
        if "of" in said:
            index, number = said["of"]
            if number == "again":
                self.known.setdefault(str(index), {})["again"] = None
            else:
                self.add(index, number, said["phase"], said["answer"])
            self.write()

    def lost(self, begun: list[Any], why: str) -> None:
        """The process ended in `begun`: a candidate's result, or that of all the dispatch has left where its default did not run."""
        index, number = begun
        failed = {"failed": why}
        if number is None:
            for other, candidate in enumerate(self.given["dispatches"][index]["candidates"]):
                if candidate["outcome"] is None and str(other) not in self.known.get(str(index), {}):
                    self.add(index, other, "search", {"failed": f"the default configuration: {why}"})
        elif number != "again":
            self.add(index, number, "search", failed)
        if number in (None, "again"):
            self.known.setdefault(str(index), {})["again"] = None
        self.write()

    def write(self) -> None:
        partial = self.output.with_name(f".{self.output.name}.partial")
        partial.write_text(json.dumps(self.told))
        os.replace(partial, self.output)


def every(pack: Path, output: Path, seconds: float = float("inf")) -> None:
    """Run an archive; the results so far are in `output` whenever it ends. No measurement begins after `seconds`."""
    deadline = time.monotonic() + seconds
    given = json.loads(pack.read_text())
    results = Results(given, output)
    results.write()
    if given["driver"] == "cuda":
        warm(pack.parent, given)
    for one_of in given.get("modules", ()):
        if time.monotonic() < deadline:
            request = pack.with_name("request.json")
            files = {name: str(pack.parent / one_of[name]) for name in ("default", "candidate")}
            request.write_text(json.dumps(one_of["request"] | files))
            results.told["modules"].append({key: value for key, value in one_of.items() if key not in ("default", "candidate", "request")} | {
                "tolerance": one_of["request"]["tolerance"], "clock": given["clock"], "answer": tune_runner.started("--module", request, MODULE_SECONDS)})
            print(f"module {one_of['name']}: {str(results.told['modules'][-1]['answer'])[:200]}", flush=True)
            results.write()
    while given["dispatches"] and (begun := _run(pack, results, deadline)) is not None:
        results.lost(*begun)


def _run(pack: Path, results: Results, deadline: float) -> tuple[list[Any], str] | None:
    """One measuring process: None when it came to its end or the time is up, else what it was at and why it ended."""
    request, lines = pack.with_name("request.json"), pack.with_name("lines.json")
    request.write_text(json.dumps({"pack": str(pack), "known": results.known}))
    begun, heard, last, why = None, 0, time.monotonic(), ""
    with lines.open("wb") as into, pack.with_name("errors.txt").open("wb") as errors:
        process = subprocess.Popen([sys.executable, __file__, "--many", str(request)], stdout=into, stderr=errors)
        while True:
            ended = process.poll() is not None
            told = lines.read_bytes()[heard:]
            complete = told[:told.rfind(b"\n") + 1]
            for line in complete.splitlines():
                said = json.loads(line)
                begun = said.get("begins", begun)
                results.hear(said)
            if complete:
                heard, last = heard + len(complete), time.monotonic()
            if ended or time.monotonic() > deadline or time.monotonic() - last > SILENCE_SECONDS:
                break
            time.sleep(0.05)
        if not ended:
            process.kill()
            process.wait()
            if time.monotonic() > deadline:
                return None
            why = f"no word for {SILENCE_SECONDS} s"
    if not process.returncode:
        return None
    words = pack.with_name("errors.txt").read_text(errors="replace").strip().splitlines()
    return begun or [0, None], why or f"exited with code {process.returncode}: {words[-1][:300] if words else 'no words'}"


def warm(folder: Path, given: dict[str, Any]) -> None:
    """Load every executable once, many at a time: CUDA's driver makes machine code of PTX, seconds each, and keeps it on disk."""
    started = time.monotonic()
    files = [str(folder / file) for one in given["dispatches"] for file in (one["default"], *(other["file"] for other in one["candidates"])) if file]
    count = min(len(files), max(1, (os.cpu_count() or 2) - 1))
    environment = os.environ | {"CUDA_CACHE_MAXSIZE": str(1 << 32)}
    running = [subprocess.Popen([sys.executable, __file__, "--warm", given["driver"], *files[part::count]], env=environment,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for part in range(count)]
    for process in running:
        process.wait()
    print(f"{len(files)} executables loaded once in {time.monotonic() - started:.0f} s", flush=True)


def main(argv: list[str]) -> int:
    if argv[:1] == ["--many"] and len(argv) == 2:
        for said in many(json.loads(Path(argv[1]).read_text())):
            print(json.dumps(said), flush=True)
        sys.stdout.flush()
        os._exit(0)  # devices and executables are not taken down: that has ended a process that had done all its work
    if argv[:1] == ["--warm"]:
        config = tune_runner.configured(argv[1])
        for file in argv[2:]:
            try:
                tune_runner.opened(file, config)
            except Exception as error:  # measuring it will tell
                print(f"{file}: {error}", file=sys.stderr)
        return 0
    if len(argv) not in (2, 3):
        print("usage: python tune_archive.py PACK.json RESULTS.json [SECONDS]", file=sys.stderr)
        return 2
    every(Path(argv[0]), Path(argv[1]), float(argv[2]) if len(argv) == 3 else float("inf"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
