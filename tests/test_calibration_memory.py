"""Calibration's peak memory at SDXL's full widths."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_full_width_blocks_are_calibrated_in_less_than_8_gb() -> None:
    run = subprocess.run([sys.executable, "-m", "scripts.calibration_memory"], capture_output=True, text=True, check=True)
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["peak_bytes"] < 8e9
    assert found["kept_bytes"] <= 1.1 * found["inputs"] * (4 << 20)
