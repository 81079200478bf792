"""The side-by-side with shortfin: all of it but shortfin itself, which has an environment of its own (docs/SHARK.md).

Where a contest is held, the other environment is a stand-in: this one's interpreter and compiler under another name.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from compile import manifest as manifests
from export.model_config import MODULES
from ireeperf import document
from ireeperf.errors import CompileError, ConfigError, RunError
from scripts import shark_side_by_side as side
from scripts.shark_contestant import Contest
from tests import tiny_build

ROOT = Path(__file__).resolve().parents[1]
ATTENTION = """module @m {
  func.func @encode_prompts(%arg0: !torch.vtensor<[2,64],si64>) -> !torch.vtensor<[2,64],si64> PUBLIC {
    %float0 = torch.constant.float 0.000000e+00
    %s = torch.constant.float 0.17677669529663689
    %r = torch.aten.scaled_dot_product_attention %q, %k, %v, %m, %float0, %false, %s, %false_1 : """ \
    "!torch.vtensor<[4,4,64,32],f32>, !torch.vtensor<[4,4,64,32],f32>, !torch.vtensor<[4,4,64,32],f32>, " \
    "!torch.vtensor<[4,1,64,64],i1>, " \
    "!torch.float, !torch.bool, !torch.float, !torch.bool -> !torch.vtensor<[4,4,64,32],f32>\n  }\n}\n"
ATTENTION = ATTENTION.replace("PUBLIC", "attributes {torch.assume_strict_symbolic_shapes}")


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE))


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def environment(tmp_path):
    """What shortfin's environment looks like from outside."""
    python, compiler = Path(sys.executable), Path(sys.executable).with_name("iree-compile")
    program(tmp_path / "venv/bin/python", f'exec {shlex.quote(str(python))} "$@"')
    program(tmp_path / "venv/bin/iree-compile",
            f'echo compiled >> {shlex.quote(str(tmp_path / "log"))}; exec {shlex.quote(str(compiler))} "$@"')
    return tmp_path / "venv"


@pytest.fixture
def build(tmp_path):
    """The tiny build, with the sources and command lines that precompile leaves."""
    folder = tmp_path / "build"
    shutil.copytree(tiny_build.shared(), folder)
    found = manifests.read(folder)
    executables = []
    for each in found.executables:
        b = each.batch_size
        source = tmp_path / f"{each.module}_bs{b}.mlir"
        source.write_text(tiny_build.MLIR[each.module].format(b=b, b2=2 * b, s=tiny_build.SEQUENCE, h=tiny_build.SIDE // 8,
                                                              side=tiny_build.SIDE))
        command = f"{each.module}_bs{b}.command.sh"
        words = ["iree-compile", str(source), *tiny_build.flags_of("cpu"), "-o", "x"]
        (folder / command).write_text("#!/bin/sh\n# by hand\n" + shlex.join(words) + "\n")
        executables.append(dataclasses.replace(each, command=command))
    document.write(dataclasses.replace(found, executables=tuple(executables)), folder / manifests.NAME)
    tiny_build.samples(40).write(tmp_path / "samples.npz")
    return folder


def arguments(tmp_path: Path, *more: str) -> list[str]:
    return ["--build", str(tmp_path / "build"), "--samples", str(tmp_path / "samples.npz"), "--shark", str(tmp_path / "venv"),
            "--work", str(tmp_path / "out"), *more]


def test_the_lock_pairs_shortfin_with_its_own_compiler():
    locked = pins("shark.txt")
    asked = pins("shark.in")
    assert asked and asked.items() <= locked.items(), "run ./scripts/lock"
    assert locked["iree-base-compiler"] == locked["iree-base-runtime"] == locked["shortfin"]
    holders = [path.name for path in (ROOT / "requirements").glob("*.txt") if "shortfin" in pins(path.name)]
    assert holders == ["shark.txt"], "shortfin's IREE is another one: it must not share an environment"


def test_mlir_is_rewritten_for_the_older_compiler():
    found = side.for_compiler_39(ATTENTION)
    assert "%default_scale_4 = torch.constant.none" in found
    assert "%false, %default_scale_4, %false_1 : " in found and "!torch.bool, !torch.none, !torch.bool -> " in found
    assert found.count('iree.reflection = {iree.abi.model = "coarse-fences"}') == 1
    kept = [line for line in ATTENTION.split("\n") if "attention" not in line and "attributes" not in line]
    assert [line for line in found.split("\n") if line in kept] == kept


def test_another_attention_scale_is_refused():
    with pytest.raises(CompileError, match=r"0\.5 is not the default 0\.17677"):
        side.for_compiler_39(ATTENTION.replace("0.17677669529663689", "0.5"))


def test_the_command_line_is_the_build_s_with_one_pass_more():
    passes = "--iree-preprocessing-pass-pipeline=builtin.module(util.func(iree-preprocessing-convert-conv-to-channels-last))"
    command = "#!/bin/sh\n" + shlex.join(["/old/iree-compile", "/old/a.mlir", "--iree-opt-level=O3", passes, "-o", "old.vmfb"])
    same = side.compile_command(command, Path("new"), Path("b.mlir"), Path("b.vmfb"), True)
    assert same == ["new", "b.mlir", "--iree-opt-level=O3", passes, "-o", "b.vmfb"]
    more = side.compile_command(command, Path("new"), Path("b.mlir"), Path("b.vmfb"), False)
    assert more[3] == passes[:-2] + f",{side.IMG2COL}))"


def rounds(wall: list[float], cpu: float) -> list[dict[str, float]]:
    return [{"wall": each, "cpu": cpu} for each in wall]


def test_figures_are_those_of_the_rounds():
    times = {side.REFERENCE: rounds([2.0, 2.0, 2.0], 4.0), "pool_iree39": rounds([4.0, 4.0, 4.0], 3.0),
             "shortfin_2_workers": rounds([3.0, 10.0, 5.0], 6.0)}
    found = side.summary(times, 4, {side.REFERENCE: 0.0, "pool_iree39": 0.5, "shortfin_2_workers": 0.25})
    assert found[side.REFERENCE]["wall_ratio"] == found[side.REFERENCE]["cpu_ratio"] == 1.0
    assert found["shortfin_2_workers"] == {
        "rounds": 3, "wall_s_per_image": 1.25, "wall_ratio": 2.5, "wall_ratio_range": [1.5, 5.0], "cpu_s_per_image": 1.5,
        "cpu_ratio": 1.5, "cpu_ratio_range": [1.5, 1.5], "mean_uint8_difference": 0.25, "same_executables": {
            "pool": "pool_iree39", "wall_ratio": 1.25, "wall_ratio_range": [0.75, 2.5], "cpu_ratio": 2.0,
            "cpu_ratio_range": [2.0, 2.0]}}
    assert "same_executables" not in found["pool_iree39"]


def test_a_twin_has_the_executables_and_threads_of_its_shortfin(tmp_path, build):
    settings = side.parse(arguments(tmp_path))
    everyone = side.contests(settings, manifests.read(build), 2, {module: f"{module}.vmfb" for module in MODULES})
    for shortfin, pool in side.TWINS.items():
        (python, one), (same_python, other) = everyone[shortfin], everyone[pool]
        assert python == same_python and one.executables == other.executables and (one.kind, other.kind) == ("shortfin", "pool")


def test_a_contest_of_our_pool_with_itself(tmp_path, build, environment, capsys):
    asked = arguments(tmp_path, "--rounds", "2", "--sample-count", "2", "--only", "pool_iree39", "--timeout", "120")
    assert side.run(asked) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(found["contestants"]) == {side.REFERENCE, "pool_iree39"} and found["rounds"] == 2
    for row in found["contestants"].values():
        assert row["rounds"] == 2 and row["wall_s_per_image"] > 0 and row["cpu_s_per_image"] > 0
        assert row["mean_uint8_difference"] == 0
    assert found["versions"]["pool_iree39"]["iree-base-runtime"]
    second = np.load(tmp_path / "out/pool.npy")
    assert second[:, 0, 0, 0].tolist() == tiny_build.expected([2, 3])
    compiled = (tmp_path / "log").read_text().count("compiled")
    settings = side.parse(asked)
    side.compile_for_shark(settings, manifests.read(build), 2)
    assert compiled == 3 and (tmp_path / "log").read_text().count("compiled") == 3, "kept: same source, same command line"


def test_a_failed_compile_says_what_the_compiler_said(tmp_path, build, environment):
    program(environment / "bin/iree-compile", "echo no such flag >&2; exit 3")
    with pytest.raises(CompileError, match="ended with 3: no such flag"):
        side.run(arguments(tmp_path, "--rounds", "1", "--sample-count", "2"))


@pytest.mark.parametrize(("more", "says"), [
    (["--rounds", "0"], "--rounds 0"),
    (["--sample-count", "3"], "--sample-count 3 is not a multiple of the batch size 2"),
    (["--rounds", "21", "--sample-count", "2"], "more than the 40"),
    (["--only", "torch"], "--only torch: there are pool, "),
], ids=lambda value: value[0].lstrip("-") if isinstance(value, list) else None)
def test_settings_that_do_not_fit_are_refused(tmp_path, build, environment, more, says):
    program(environment / "bin/iree-compile", 'while [ "$1" != -o ]; do shift; done; echo made > "$2"')
    with pytest.raises(ConfigError, match=re.escape(says)):
        side.run(arguments(tmp_path, *more))


def test_without_the_environment_the_command_that_makes_it_is_named(tmp_path):
    command = [sys.executable, ROOT / "scripts/shark_side_by_side.py", "--shark", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "requirements/shark.txt" in done.stderr and "Traceback" not in done.stderr


def contest(**changes) -> Contest:
    given = {"kind": "pool", "build": "none", "executables": {}, "samples": "none", "batch_size": 2, "workers": 1}
    return Contest(**given | changes)


def test_a_contestant_that_dies_is_named():
    with pytest.raises(RunError, match=r"someone ended with 2"):
        side.Running("someone", Path(sys.executable), contest(), 60.0)


def test_a_contestant_that_hangs_is_killed(tmp_path):
    started = time.monotonic()
    with pytest.raises(RunError, match=r"someone did not answer in 0\.5 s"):
        side.Running("someone", program(tmp_path / "python", "exec sleep 60"), contest(), 0.5)
    assert time.monotonic() - started < 30


def test_a_library_s_own_words_are_passed_over(tmp_path):
    talkative = program(tmp_path / "python", """echo warning; echo '{"ready": true}'
        read line; echo "warning: $line"; echo '{"count": 2}'""")
    running = side.Running("someone", talkative, contest(), 60.0)
    assert running.about == {"ready": True} and running.draw([0, 1], None) == {"count": 2}
    running.stop()
    running.stop()
