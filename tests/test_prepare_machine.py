"""scripts/prepare_machine on a fake machine: sysfs in a folder, and amd-smi, rocm-smi and cpupower programs that act on it."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_machine import FakeMachine

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "prepare_machine"
SMI = "amd-smi set --gpu all"


class Prepared:
    """The script, run on a machine with only the given programs on PATH: never a real amd-smi."""

    def __init__(self, machine: FakeMachine, folder: Path, programs: tuple[str, ...]) -> None:
        self.machine, self.bin = machine, machine.programs(folder, programs)
        self.bin.mkdir(exist_ok=True)
        (self.bin / "sync").symlink_to(shutil.which("sync"))

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-S", SCRIPT, "--root", self.machine.root, *words], env={"PATH": str(self.bin)},
                              capture_output=True, text=True, check=False)

    def commands(self) -> list[str]:
        """What the programs were asked, in order."""
        path = self.machine.root / "commands"
        return path.read_text().splitlines() if path.exists() else []

    def snapshot(self) -> dict[str, str]:
        """Every file of the machine, less what is no setting."""
        root = self.machine.root
        return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*")
                if path.is_file() and path.name not in ("commands", "drop_caches", "refuse")}


@pytest.fixture
def make(tmp_path):
    def make(compute="SPX", memory="NPS1", programs=("amd-smi", "cpupower"), gpus=2, **machine):
        return Prepared(FakeMachine(tmp_path / "root", gpus=gpus, **machine).build(compute, memory), tmp_path / "bin", programs)
    return make


def last(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    return json.loads(done.stdout.splitlines()[-1])


def test_check_names_found_wanted_and_command_and_changes_nothing(make):
    prepare = make()
    before = prepare.snapshot()
    done = prepare("--check")
    assert done.returncode == 1 and done.stderr == ""
    assert last(done) == {"ready": False, "differing": [
        "compute mode", "performance determinism", "CPU idle state 2 off", "CPU governor", "NMI watchdog", "NUMA balancing",
        "address randomization", "transparent huge pages", "huge page defragmentation"]}
    rows = {re.split(r"\s{2,}", line)[1]: line for line in done.stdout.splitlines() if line.startswith(("differs", "ok"))}
    assert rows["memory mode"].split()[-2:] == ["NPS1", "NPS1"]
    assert rows["compute mode"].endswith(f"sudo {SMI} --perf-determinism 2100 && sudo {SMI} --compute-partition CPX")
    assert rows["CPU governor"].endswith("sudo cpupower frequency-set -g "
                                         "performance") and "schedutil " in rows["CPU governor"]
    assert rows["transparent huge pages"].endswith("echo always | sudo tee /sys/kernel/mm/transparent_hugepage/enabled")
    assert prepare.snapshot() == before and prepare.commands() == []


def test_apply_sets_in_amd_s_order_and_undo_restores(make):
    prepare = make()
    before = prepare.snapshot()
    done = prepare("--apply")
    assert done.returncode == 0, done.stderr
    assert prepare.commands() == [f"{SMI} --perf-determinism 2100", f"{SMI} --compute-partition CPX", "cpupower idle-set "
                                                                                                      "-d 2",
                                  "cpupower frequency-set -g performance"]
    assert (prepare.machine.root / "proc/sys/vm/drop_caches").read_text() == "3\n"
    assert prepare("--check").returncode == 0
    done = prepare("--undo")
    assert done.returncode == 0, done.stderr
    assert prepare.commands()[4:] == [f"{SMI} --compute-partition SPX", "amd-smi reset --gpu all --perf-determinism"]
    after = prepare.snapshot()
    pages = {name: text for name, text in after.items() if "transparent_hugepage" in name}
    assert set(pages.values()) == {"madvise\n"}, "the kernel would show it in brackets among the choices"
    assert after | {name: before[name] for name in pages} == before


def test_memory_mode_comes_first_and_determinism_needs_whole_gpus(make):
    prepare = make("CPX", "NPS4")
    assert prepare("--apply").returncode == 0
    assert prepare.commands()[:4] == [f"{SMI} --memory-partition NPS1", f"{SMI} --compute-partition SPX",
                                      f"{SMI} --perf-determinism 2100", f"{SMI} --compute-partition CPX"]


def test_apply_twice_does_nothing_more_and_undo_goes_back_to_before_the_first(make):
    prepare = make()
    before = prepare.snapshot()
    prepare("--apply")
    asked = prepare.commands()
    done = prepare("--apply")
    assert done.returncode == 0 and last(done)["done"] == ["3 > /proc/sys/vm/drop_caches"]
    assert prepare.commands() == asked
    assert prepare("--apply", "--workload", "llm").returncode == 0
    assert prepare("--undo").returncode == 0
    assert prepare.snapshot().keys() == before.keys()
    assert prepare.machine.first("current_compute_partition") == "SPX"
    assert prepare.machine.first("power_dpm_force_performance_level") == "auto"


def test_llm_runs_on_whole_gpus(make):
    prepare = make("CPX")
    assert prepare("--apply", "--workload", "llm").returncode == 0
    assert prepare.commands()[:2] == [f"{SMI} --compute-partition SPX", "cpupower idle-set -d 2"]
    assert prepare("--check", "--workload", "llm").returncode == 0
    assert last(prepare("--check"))["differing"] == ["compute mode", "performance determinism"]


def test_rocm_smi_where_there_is_no_amd_smi(make):
    prepare = make("CPX", "NPS4", programs=("rocm-smi",))
    assert "sudo rocm-smi --autorespond y --setmemorypartition NPS1 && sudo rocm-smi --setcomputepartition SPX" in prepare("--check").stdout
    assert prepare("--apply").returncode == 0
    assert prepare.commands() == ["rocm-smi --autorespond y --setmemorypartition NPS1", "rocm-smi --setcomputepartition SPX",
                                  "rocm-smi --autorespond y --setperfdeterminism 2100", "rocm-smi --setcomputepartition CPX"]
    assert prepare("--check").returncode == 0, "without cpupower, the files that it writes were written"
    assert prepare("--undo").returncode == 0 and "rocm-smi --setmemorypartition NPS4" not in prepare.commands()
    assert prepare.machine.first("current_memory_partition") == "NPS4"


def test_apply_stops_at_the_first_failure_and_says_what_was_done(make):
    prepare = make()
    before = prepare.snapshot()
    (prepare.machine.root / "refuse").write_text("CPX")
    done = prepare("--apply")
    assert done.returncode == 2
    assert last(done)["done"] == [f"sudo {prepare.bin}/{SMI} --perf-determinism 2100"]
    assert "--compute-partition CPX` failed with exit code 1: AMDSMI_STATUS_BUSY - Device busy; ./scripts/prepare_machine --undo" in done.stderr
    state = "var/lib/ireeperf/prepare_machine.json"
    host = {name: text for name, text in prepare.snapshot().items() if name != state and "/pci/" not in name}
    assert host == {name: text for name, text in before.items() if "/pci/" not in name}, "a later setting was changed"
    (prepare.machine.root / "refuse").unlink()
    assert prepare("--undo").returncode == 0
    assert prepare.machine.first("power_dpm_force_performance_level") == "auto"
    assert not (prepare.machine.root / state).exists()


def test_a_command_that_claims_success_is_not_believed(make):
    prepare = make()
    (prepare.bin / "amd-smi").write_text("#!/bin/sh\nexit 0\n")
    done = prepare("--apply")
    assert done.returncode == 2 and last(done)["done"] == []
    assert "the GPUs' clock is 0 after" in done.stderr and "end what uses the GPUs" in done.stderr


def test_63_devices_name_the_driver_that_holds_a_drm_node(make):
    prepare = make(gpus=8, vga=True)
    done = prepare("--apply")
    assert done.returncode == 2
    assert "63 of 64 devices show; card0 (ast) holds one of the kernel's 64 DRM nodes: echo 'blacklist ast'" in done.stderr
    assert "devices" in last(prepare("--check"))["differing"]


def test_a_machine_without_gpus_or_without_rocm(make):
    prepare = make(programs=())
    assert "neither amd-smi nor rocm-smi is on PATH or in /opt/rocm/bin" in prepare("--apply").stderr
    shutil.rmtree(prepare.machine.root / "sys/class/drm")
    done = prepare("--check")
    assert done.returncode == 1 and last(done)["differing"][0] == "GPUs" and "sudo modprobe amdgpu" in done.stdout


def test_gpus_in_different_modes_are_set_but_cannot_be_undone(make):
    prepare = make("CPX")
    (prepare.machine.root / "sys/devices/pci/0000:05:00.0/current_compute_partition").write_text("SPX\n")
    assert "CPX x1, SPX x1" in prepare("--check").stdout
    assert prepare("--apply").returncode == 0
    done = prepare("--undo")
    assert done.returncode == 2 and "differed from each other before (NPS1; CPX x1, SPX x1; clock auto): set them by hand" in done.stderr


def test_settings_that_the_machine_lacks_do_not_count(make):
    prepare = make()
    for cpu in range(prepare.machine.cpus):
        shutil.rmtree(prepare.machine.root / f"sys/devices/system/cpu/cpu{cpu}/cpuidle/state2")
    assert "CPU idle state 2 off" not in last(prepare("--check"))["differing"]
    assert prepare("--apply").returncode == 0
    assert "cpupower idle-set -d 2" not in prepare.commands()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 2}', '{"schema_version": 1, "gpus": {}, "host": {}}'])
def test_a_state_file_that_is_none(make, text):
    prepare = make()
    assert "nothing to undo: cannot read" in prepare("--undo").stderr
    state = prepare.machine.root / "state.json"
    state.write_text(text)
    before = prepare.snapshot()
    for action in ("--undo", "--apply"):
        done = prepare(action, "--state", str(state))
        assert done.returncode == 2 and "is not a state file of this version" in done.stderr
    assert prepare.snapshot() == before


def test_one_action_is_needed():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "one of the arguments --check --apply --undo is required" in done.stderr


@pytest.mark.parametrize("name", ["prepare_machine", "prepare_machine_gpu.py", "prepare_machine_host.py"])
def test_it_runs_on_an_old_python_without_packages(name):
    """What the oldest system Python that ROCm supports (3.9) would not parse or find. None is here to run it."""
    tree = ast.parse((SCRIPT.parent / name).read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.module.split(".")[0] in {*sys.stdlib_module_names, "scripts"}, node.module
        if isinstance(node, ast.keyword):
            assert node.arg not in ("slots", "kw_only", "strict"), "newer than Python 3.9"
