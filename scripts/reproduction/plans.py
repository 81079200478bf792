"""The three presets of a reproduction: rehearsal (CPU, sdxl-nano), null (MLPerf's counts), mi325x (AMD's machine)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from scripts.reproduction.steps import MODES, SCENARIOS, Reproduction, Step, run_folder

PYTHON, PYTHON_313T = ".venv/bin/python", ".venv-3.13t/bin/python"
NANO, SAMPLES = "models/sdxl-nano", "build/samples/sdxl-nano-64.npz"
AMD = "code/stable-diffusion-xl/SDXL_inference/"
AMD_RUN = {"Offline": f"{AMD}run_scenario_offline_MI325x_cpx.sh", "Server": f"{AMD}run_scenario_server_MI325x_cpx.sh"}
AMD_CONFIG = {"Offline": "sdxl_config_fp8_sched_unet_bs32.json", "Server": "sdxl_config_fp8_sched_unet_bs2.json"}
NULL_SECONDS = {2: 6.861, 8: 26.9}  # a batch on a null device: AMD's minimum latency at 2, a quarter of its 107.57 s at 32
REHEARSER = "REHEARSAL"  # submitter of trees that are no submission
SHORT_SAMPLES, REHEARSAL_SAMPLES = 16, 128
RATE = 1.77  # samples/s of sdxl-nano FP32 at batch size 8 on the 2 shared cores of the README's figure: for estimates only


@dataclasses.dataclass(frozen=True)
class Options:
    """The command line of scripts/reproduce."""

    folder: Path
    mlcommons: Path | None  # checkout of mlcommons/inference v5.1.1, for its compliance scripts and checker
    short: bool  # seconds instead of MLPerf's durations: what CI runs
    setup: bool


def rehearsal(options: Options) -> Reproduction:
    """CPU, sdxl-nano, short counts. Offline runs on free-threaded Python, Server on the ordinary one, as AMD's did."""
    count = SHORT_SAMPLES if options.short else REHEARSAL_SAMPLES
    builds = {"Offline": ("sdxl_nano_fp32_bs8", "build/sdxl_nano_fp32_bs8-cpu"), "Server": ("sdxl_nano_fp32_bs2", "build/sdxl_nano_fp32_bs2-cpu")}
    steps = setup(options, free_threaded=True) + (nano_samples(),)
    for model, build in builds.values():
        steps += (Step(name=f"compile {model}", seconds=60, amd=f"{AMD}precompile_model_shortfin.sh", command=(
            PYTHON, "compile/precompile.py", "--model-json", f"export/configs/{model}.json", "--checkpoint", NANO, "--target", "cpu",
            "--output", build)),)
    conf = ("--user-conf", str(options.folder / "user.conf")) if options.short else ()
    limit = 5 if options.short else 60
    for scenario in SCENARIOS:
        offline = scenario == "Offline"
        for mode in MODES:
            seconds = count / (RATE if offline else 0.8) if mode == "accuracy" else limit
            command = (PYTHON_313T if offline else PYTHON, "-m", f"harness.{scenario.lower()}", "--preset", "cpu", "--manifest",
                       builds[scenario][1], "--samples", SAMPLES, "--sample-count", str(count), "--deterministic-batch", *conf)
            steps += (lg_run(options, scenario, mode, command, seconds=seconds + 15, bytes_=count * 98304,
                             environment={"PYTHON_GIL": "0"} if offline else {}),)
    steps += scores(options, gate=not options.short, seconds=40)
    steps += submission(options, REHEARSER, "this-machine", division="open")
    return Reproduction(preset="rehearsal", folder=options.folder, steps=steps, note=(
        "sdxl-nano is not an MLPerf benchmark: counts and durations are a rehearsal's, and the checkers must say so"))


def null(options: Options) -> Reproduction:
    """Null devices at official counts and durations, all runs side by side; accuracy answers are stored 128x128 pictures."""
    inputs = options.folder / "inputs"
    steps = setup(options, free_threaded=False)
    steps += (Step(name="null build", product=inputs / "pictures.npy", seconds=10,
                   command=(PYTHON, "-m", "scripts.reproduction.null_build", str(inputs))),)
    conf = ("--user-conf", str(options.folder / "user.conf"), "--sample-count", str(SHORT_SAMPLES)) if options.short else ()
    batch = {"Offline": 8, "Server": 2}
    for scenario in SCENARIOS:
        for mode in MODES:
            command = (PYTHON, "-m", f"harness.{scenario.lower()}", "--preset", "null", "--manifest", str(inputs), "--samples",
                       str(inputs / "samples.npz"), "--service-times", str(options.folder / "null_times.toml"), "--null-pictures",
                       str(inputs / "pictures.npy"), "--batch-size", str(batch[scenario]), "--deterministic-batch", *conf)
            steps += (lg_run(options, scenario, mode, command, seconds=20 if options.short else 750, bytes_=(SHORT_SAMPLES if options.short else 5000) * 98304,
                             together="null runs"),)
    steps += scores(options, gate=False, seconds=15 if options.short else 250)
    steps += submission(options, REHEARSER, "64-null-devices", division="open")
    return Reproduction(preset="null", folder=options.folder, steps=steps, note=(
        "null devices take a known time and answer with stored pictures: figures and scores say nothing of any machine"))


def mi325x(options: Options) -> Reproduction:
    """8 x MI325X in CPX: the whole procedure, each line beside AMD's script for it. Never run."""
    data, checkpoint = "data/sdxl", "data/sdxl/checkpoint"
    models = {"Offline": "sdxl_fp16_bs32", "Server": "sdxl_fp16_bs2"}
    hours = {"performance": 0.4, "accuracy": 0.2, "TEST01": 0.4, "TEST04": 0.4}
    steps = setup(options, free_threaded=True)
    steps += (
        Step(name="machine", command=("./scripts/prepare_machine", "--check", "--workload", "sdxl"),
             amd="the article's list of rocm-smi, cpupower and sysctl commands"),
        Step(name="model and data", command=("./scripts/fetch", "sdxl"), seconds=1800, amd=f"{AMD}download_model.sh and file_downloads.sh"),
        Step(name="sample set", product=options.folder / "samples.npz", seconds=20, command=(
            PYTHON, "-m", "export.samples", "--model-json", f"export/configs/{models['Offline']}.json", "--tokenizers", checkpoint,
            "--captions", f"{data}/captions_source.tsv", "--output", str(options.folder / "samples.npz")), amd=f"{AMD}preprocess_data.py"),
    )
    for scenario, model in models.items():
        steps += (Step(name=f"compile {model}", seconds=1800, amd=f"{AMD}precompile_model_shortfin.sh --model_json {AMD_CONFIG[scenario]}",
                       command=(PYTHON, "compile/precompile.py", "--model-json", f"export/configs/{model}.json", "--checkpoint",
                                checkpoint, "--target", "mi325x-cpx", "--output", f"build/{model}-mi325x-cpx")),)
    for scenario in SCENARIOS:
        offline = scenario == "Offline"
        for mode in MODES:
            command = (PYTHON_313T if offline else PYTHON, "-m", f"harness.{scenario.lower()}", "--preset", "mi325x_cpx", "--manifest",
                       f"build/{models[scenario]}-mi325x-cpx", "--samples", str(options.folder / "samples.npz"),
                       *(("--deterministic-batch",) if mode in ("accuracy", "TEST01") else ()))
            steps += (lg_run(options, scenario, mode, command, seconds=hours[mode] * 3600, bytes_=5000 * 2 * 3 * 2**20,
                             environment={"PYTHON_GIL": "0"} if offline else {}, amd=AMD_RUN[scenario]),)
    steps += tuple(dataclasses.replace(step, amd=f"{AMD}run_accuracy_mi325x.sh") for step in scores(options, gate=True, seconds=1800))
    steps += submission(options, "YOUR_ORGANISATION", "8xMI325X-CPX", division="closed")
    return Reproduction(preset="mi325x", folder=options.folder, steps=steps, note=(
        "never run. FP16 weights: AMD's FP8 quantization is not built yet, so the rate will be below AMD's 18.59 samples/s"))


PRESETS = {"rehearsal": rehearsal, "null": null, "mi325x": mi325x}


def setup(options: Options, *, free_threaded: bool) -> tuple[Step, ...]:
    """The environments."""
    if not options.setup:
        return ()
    steps = (Step(name="environment", command=("./scripts/setup",), seconds=60, amd="build_docker.sh"),)
    if free_threaded:
        steps += (Step(name="free-threaded Python", command=("./scripts/setup_free_threaded",), seconds=240, amd="build_docker_nogil.sh"),)
    return steps


def nano_samples() -> Step:
    """The sample set of the rehearsal model."""
    return Step(name="sample set", seconds=10, command=(
        PYTHON, "-m", "export.samples", "--model-json", "export/configs/sdxl_nano_fp32_bs8.json", "--tokenizers", NANO, "--captions",
        f"{NANO}/captions.tsv", "--output", SAMPLES))


def lg_run(options: Options, scenario: str, mode: str, command: Sequence[str], *, seconds: float, bytes_: int,
           environment: dict[str, str] | None = None, together: str | None = None, amd: str = "") -> Step:
    """One LoadGen run, a process and a folder of its own."""
    folder = run_folder(options.folder, scenario, mode)
    logged = {"accuracy": 2 * bytes_, "TEST01": 2 * bytes_ // 40}.get(mode, 0)  # two digits a byte; 128 of 5,000 answers
    return Step(name=f"{scenario} {mode}", command=(*command, "--mode", mode, "--output", str(folder)), product=folder / "result.json",
                environment=environment or {}, seconds=seconds, log_bytes=logged, side_by_side=together, amd=amd)


def scores(options: Options, *, gate: bool, seconds: float) -> tuple[Step, ...]:
    """Accuracy validation of both accuracy runs; a score outside its gate (exit code 1) is reported at the end."""
    steps = []
    for scenario in SCENARIOS:
        folder = run_folder(options.folder, scenario, "accuracy")
        steps.append(Step(name=f"score {scenario}", command=(PYTHON, "-m", "eval.score", str(folder), *(() if gate else ("--no-gate",))),
                          product=folder / "score" / "scores.json", codes=(0, 1), seconds=seconds, side_by_side="scores",
                          environment={"OMP_NUM_THREADS": "1"}))
    return tuple(steps)


def submission(options: Options, submitter: str, system: str, *, division: str) -> tuple[Step, ...]:
    """The tree, judged by our pre-flight and, where its files are, by MLCommons' checker (exit code 1: findings)."""
    tree = options.folder / "tree"
    judge = ("--mlcommons", str(options.mlcommons)) if options.mlcommons else ()
    checker = ("--checker", str(options.mlcommons)) if options.mlcommons else ()
    file = "rehearsal" if submitter == REHEARSER else "mi325x"
    rehearsed = ("--rehearsal",) if submitter == REHEARSER else ()
    return (
        Step(name="remove an old tree", command=("rm", "-rf", str(tree))),
        Step(name="submission tree", seconds=60, codes=(0, 1), command=(
            PYTHON, "-m", "harness.submission", "--runs", str(options.folder / "runs"), "--output", str(tree), "--division", division,
            "--submitter", submitter, "--system", system, "--system-file", f"harness/systems/{file}.toml", "--implementation",
            "ireeperf", *rehearsed, *judge, *checker)),
    )
