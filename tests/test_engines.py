"""harness.engines: which devices a run opens when the command line does not say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from compile import manifest as manifests
from harness import engines
from harness.inputs import Inputs
from harness.settings import parse
from ireeperf.errors import ConfigError
from runtime import iree_device
from runtime.null_device import NullEngine
from runtime.partition import PRESETS
from tests import tiny_build


def found(*, driver: str = "local-task", samples: int = 40) -> Inputs:
    manifest = dataclasses.replace(tiny_build.manifest(tiny_build.model()), driver=driver)
    return Inputs(manifest_path=Path("build/tiny/manifest.json"), manifest=manifest, samples_path=Path("s.npz"),
                  samples=tiny_build.samples(samples), user_conf=Path("u.conf"), batch_size=4, sizes=(2, 4), output=Path("run"))


@pytest.mark.parametrize(("argv", "driver", "samples", "uris"), [
    ([], "local-task", 40, ["local-sync://0", "local-sync://1", "local-sync://2"]),  # one per core
    ([], "local-task", 9, ["local-sync://0", "local-sync://1"]),  # no more than there are full batches
    ([], "local-task", 3, ["local-task://0"]),  # a device alone gets all cores
    ([], "hip", 40, ["hip://0"]),
    (["--devices", "2"], "hip", 40, ["hip://0", "hip://1"]),
    (["--devices", "1"], "local-task", 40, ["local-task://0"]),
    (["--devices", "2", "--driver", "local-task"], "local-task", 40, ["local-task://0", "local-task://1"]),
    (["--driver", "cuda"], "local-task", 40, ["cuda://0"]),
    (["--device", "null"], "local-task", 40, ["null://0"]),
    (["--device", "null", "--devices", "64"], "hip", 40, [f"null://{i}" for i in range(64)]),
])
def test_devices_are_named_by_scheme_and_index(monkeypatch: pytest.MonkeyPatch, argv: list[str], driver: str, samples: int,
                                               uris: list[str]) -> None:
    monkeypatch.setattr(engines, "_cores", lambda: 3)
    assert list(engines.uris(parse("offline", argv), found(driver=driver, samples=samples))) == uris


def test_null_engines_take_the_table_which_says_that_it_is_assumed() -> None:
    settings = parse("offline", ["--device", "null", "--devices", "2"])
    made = {uri: maker() for uri, maker in engines.makers(settings, found(), ("null://0", "null://1"), None).items()}
    assert list(made) == ["null://0", "null://1"] and all(isinstance(engine, NullEngine) for engine in made.values())
    assert all(engine.sizes == (2, 4) for engine in made.values())
    assert engines.null_times(settings).evidence == "assumed"


def test_a_table_without_the_batch_size_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "times.toml"
    table.write_text('device = "null"\nevidence = "assumed"\nsource = "test"\n[seconds]\n2 = 1.0\n')
    with pytest.raises(ConfigError, match="no service time for batch size 4 on null; known: 2"):
        engines.makers(parse("offline", ["--device", "null", "--service-times", str(table)]), found(), ("null://0",), None)


def test_a_machine_gives_its_device_count_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = PRESETS["mi325x-cpx"]
    assert len(engines.uris(parse("offline", []), found(driver="hip"), machine)) == 64
    assert len(engines.uris(parse("offline", ["--devices", "8"]), found(driver="hip"), machine)) == 8
    with pytest.raises(ConfigError, match="--devices 65, but mi325x-cpx shows 64"):
        engines.uris(parse("offline", ["--devices", "65"]), found(driver="hip"), machine)


def test_memory_is_stated(tmp_path: Path) -> None:
    null = parse("offline", ["--device", "null", "--isolation", "process"])
    assert engines.memory(null, found(), ("null://0", "null://1"), None) == "0.00 GiB of shared memory for answers"
    assert engines.memory(parse("offline", ["--device", "null"]), found(), ("null://0",), None) == "no weights"
    tiny = tiny_build.shared()
    build = iree_device.check_build(tiny, manifests.read(tiny), (2, 4))
    stated = engines.memory(parse("offline", ["--driver", "hip"]), found(), tuple(f"hip://{i}" for i in range(64)), build)
    assert stated == "0.00 GB of weights a device, 8.0 GiB pinned and 256 threads of the host"
