"""From LoadGen to the tree: eight short runs on null devices, MLCommons' scripts, and a tree that is refused for being short only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import compliance, submission_check, submission_official, submission_tree
from harness.submission_check import SHORT
from tests import closed_fixture, mlcommons
from tests.record_closed_fixture import MODES, write_inputs

ROOT = Path(__file__).resolve().parents[1]
SAMPLES, SHOWN = 200, (3, 150)
CONF = ("*.*.min_duration = 4000\n*.*.min_query_count = 1\n*.*.performance_sample_count_override = 200\n"
        "*.Offline.target_qps = 20\n*.Server.target_qps = 150\n")


def start(folder: Path, scenario: str, mode: str) -> subprocess.Popen[str]:
    words = ["--manifest", "build/fixture", "--mode", mode, "--device", "null", "--devices", "4", "--sample-count", str(SAMPLES),
             "--user-conf", "short.conf", "--service-times", "short.toml", "--output", f"runs/{scenario}-{mode}"]
    return subprocess.Popen([sys.executable, "-m", f"harness.{scenario}", *words], cwd=folder, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, env=os.environ | {"PYTHONPATH": str(ROOT)})


@pytest.mark.loadgen
def test_short_runs_become_a_tree_that_is_only_too_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_inputs(tmp_path)
    (tmp_path / "short.conf").write_text(CONF)
    # four devices at 10 ms a sample draw 400 samples/s
    times = "".join(f"{size} = {size / 100}\n" for size in (1, 2, 4, 8))
    (tmp_path / "short.toml").write_text(f'schema_version = 1\ndevice = "null"\nevidence = "assumed"\nsource = "test"\n[seconds]\n{times}')
    running = {f"{scenario}-{mode}": start(tmp_path, scenario, mode) for scenario in ("offline", "server") for mode in MODES}
    for name, process in running.items():
        out, _ = process.communicate(timeout=240)
        assert process.returncode == 0, f"{name}\n{out}"
    monkeypatch.chdir(tmp_path)  # the runs name their manifest as it was given
    for scenario in ("offline", "server"):
        closed_fixture.score(tmp_path / "runs" / f"{scenario}-accuracy", shown=SHOWN)
    if mlcommons.FILES is None:
        monkeypatch.setattr(compliance, "judge", pytest.fail)  # without the scripts the open tree leaves the tests out
    given = closed_fixture.submission(tmp_path, tmp_path / "runs", submitter="REHEARSAL", division="open", mlcommons=mlcommons.FILES)
    tree = submission_tree.build(given, null_runs=True)
    findings = submission_check.check(tree, rehearsal=True)
    assert findings and {finding.code for finding in findings} <= SHORT, [str(finding) for finding in findings]
    if mlcommons.FILES is not None:
        assert not submission_official.run(mlcommons.FILES, tree).accepted
