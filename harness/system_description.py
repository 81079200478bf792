"""systems/<system>.json of a submission, filled from the machine: /proc, sysfs and os-release, and for the rest a TOML file.

    python -m harness.system_description --system-file harness/systems/mi325x.toml     # prints the JSON

A key of the TOML wins over what the machine says. What neither says is "N/A", which the checker accepts as meaningful (an
integer 0 it does not), and is listed, so that nobody publishes it unseen.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.submission_limits import SYSTEM_KEYS
from ireeperf.errors import ConfigError, exit_code

UNKNOWN = "N/A"
GIVEN = ("division", "submitter")  # from the submission's command line, never from a file
VIRTUAL_BLOCK = ("loop", "ram", "zram", "dm-", "md", "sr", "nbd")
GFX = {90402: "gfx942", 90500: "gfx950"}  # gfx_target_version of KFD's topology: major x 10000 + minor x 100 + step


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """All keys of the checker, as text; `unsaid` are those that nobody filled."""

    values: dict[str, str]
    unsaid: tuple[str, ...]


def describe(root: Path, overrides: dict[str, str]) -> Description:
    """The machine whose files lie under `root` ("/"), with `overrides` (read_overrides) in front."""
    found = {"number_of_nodes": "1", "hw_notes": "", "sw_notes": ""} | _processors(root) | _memory(root) | _storage(root)
    found |= _network(root) | _accelerators(root) | {"operating_system": _operating_system(root)} | _names(root)
    found |= overrides
    values = {key: found.get(key, UNKNOWN) for key in SYSTEM_KEYS if key not in GIVEN}
    unsaid = tuple(key for key, value in values.items() if value == UNKNOWN and key not in overrides)
    return Description(values=values, unsaid=unsaid)


def read_overrides(path: Path) -> dict[str, str]:
    """A TOML table of the checker's keys; ConfigError names a key it does not know, or a value that is no text or number."""
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    for key, value in table.items():
        if key in GIVEN or key not in SYSTEM_KEYS:
            raise ConfigError(f"{path}: {key!r} is no key of a system description; it takes "
                              f"{', '.join(k for k in SYSTEM_KEYS if k not in GIVEN)}")
        if type(value) not in (str, int, float):
            raise ConfigError(f"{path}: {key} is {value!r}; text or a number is needed")
    return {key: str(value) for key, value in table.items()}  # as text: the checker takes an integer 0 for empty


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _fields(text: str, name: str) -> list[str]:
    return [value.strip() for key, _, value in (line.partition(":") for line in text.splitlines()) if key.strip() == name]


def _processors(root: Path) -> dict[str, str]:
    """Model, sockets, cores of a socket, highest frequency, caches of /proc/cpuinfo and sysfs."""
    cpuinfo, cpu = _text(root / "proc/cpuinfo"), root / "sys/devices/system/cpu"
    sockets = max(1, len(set(_fields(cpuinfo, "physical id"))))
    threads = len(_fields(cpuinfo, "processor"))
    found = {"host_processors_per_node": str(sockets)}
    if models := _fields(cpuinfo, "model name"):
        found["host_processor_model_name"] = models[0]
    if cores := _fields(cpuinfo, "cpu cores"):
        found["host_processor_core_count"] = cores[0]
    elif threads:
        found["host_processor_core_count"] = str(threads // sockets)
    if (hertz := _text(cpu / "cpu0/cpufreq/cpuinfo_max_freq")).isdigit():
        found["host_processor_frequency"] = f"{int(hertz) / 1e6:.2f} GHz (max)"
    caches = []
    for index in sorted((cpu / "cpu0/cache").glob("index*")):
        level, kind, size = (_text(index / name) for name in ("level", "type", "size"))
        shared = _count(_text(index / "shared_cpu_list"))
        if level and size:
            caches.append(f"L{level}{'' if kind == 'Unified' else kind[:1].lower()} {size} per {shared} threads")
    if caches:
        found["host_processor_caches"] = ", ".join(caches)
    return found


def _count(cpus: str) -> int:
    """How many CPUs a sysfs list such as "0-3,64" names."""
    ranges = [part.split("-") for part in cpus.split(",") if part]
    return sum(int(part[-1]) - int(part[0]) + 1 for part in ranges)


def _memory(root: Path) -> dict[str, str]:
    """What Linux sees (a little less than is plugged in), and how many NUMA nodes hold it."""
    total = _fields(_text(root / "proc/meminfo"), "MemTotal")
    nodes = len(list((root / "sys/devices/system/node").glob("node[0-9]*")))
    found = {"host_memory_capacity": f"{int(total[0].split()[0]) / 2**20:.0f} GiB"} if total else {}
    return found | ({"host_memory_configuration": f"{nodes} NUMA nodes"} if nodes > 1 else {})


def _storage(root: Path) -> dict[str, str]:
    """Whole disks: sysfs counts sectors of 512 bytes whatever the disk's own."""
    kinds: Counter[str] = Counter()
    total = 0
    for disk in sorted((root / "sys/block").glob("*")):
        sectors = _text(disk / "size")
        if disk.name.startswith(VIRTUAL_BLOCK) or not sectors.isdigit() or sectors == "0":
            continue
        total += 512 * int(sectors)
        rotates = _text(disk / "queue/rotational") == "1"
        kinds["NVMe SSD" if disk.name.startswith("nvme") else "virtual disk" if disk.name.startswith("vd")
              else "HDD" if rotates else "SSD"] += 1
    if not total:
        return {}
    size = f"{total / 1e12:.1f} TB" if total >= 1e12 else f"{total / 1e9:.0f} GB"
    return {"host_storage_capacity": size, "host_storage_type": ", ".join(f"{n}x {kind}" for kind, n in kinds.items())}


def _network(root: Path) -> dict[str, str]:
    """Interfaces of a real card: those with a device behind them. Speed in Mb/s, -1 or unreadable when the link is down."""
    cards = [path for path in sorted((root / "sys/class/net").glob("*")) if (path / "device").exists()]
    speeds = Counter(int(text) for path in cards if re.fullmatch(r"[1-9]\d*", text := _text(path / "speed")))
    found = {"host_network_card_count": str(len(cards))} if cards else {}
    if speeds:
        found["host_networking"] = ", ".join(f"{n}x {speed / 1000:g} Gb/s" for speed, n in sorted(speeds.items()))
    elif cards:
        found["host_networking"] = f"{len(cards)}x Ethernet, speed not reported"
    return found


def _accelerators(root: Path) -> dict[str, str]:
    """GPUs of KFD's topology (nodes with SIMDs); a partition of a GPU is a node too, so partitions of one package count once."""
    packages: dict[str, int] = {}
    names: Counter[str] = Counter()
    clocks = []
    for node in sorted((root / "sys/class/kfd/kfd/topology/nodes").glob("*")):
        facts = dict(line.split() for line in _text(node / "properties").splitlines() if len(line.split()) == 2)
        if not int(facts.get("simd_count", "0")):
            continue
        # location_id is bus, device and function (PCI); partitions differ in the function or share all of it
        package = f"{facts.get('domain', '0')}:{int(facts.get('location_id', '0')) >> 3}"
        banks = sum(int(value) for bank in (node / "mem_banks").glob("*/properties")
                    for line in _text(bank).splitlines() if line.startswith("size_in_bytes") for value in line.split()[1:])
        packages[package] = packages.get(package, 0) + banks
        names[GFX.get(int(facts.get("gfx_target_version", "0")), "AMD GPU")] += 1
        clocks.append(int(facts.get("max_engine_clk_fcompute", "0")))
    if not packages:
        return {"accelerators_per_node": "0", "accelerator_model_name": UNKNOWN}
    found = {"accelerators_per_node": str(len(packages)), "accelerator_model_name": f"AMD {names.most_common(1)[0][0]}"}
    if each := max(packages.values()):
        found["accelerator_memory_capacity"] = f"{math.floor(each / 1e9)} GB"
    if max(clocks):
        found["accelerator_frequency"] = f"{max(clocks)} MHz (max)"
    return found


def _operating_system(root: Path) -> str:
    names = re.findall(r'^PRETTY_NAME="?([^"\n]+)"?$', _text(root / "etc/os-release"), re.MULTILINE)
    kernel = _text(root / "proc/sys/kernel/osrelease")
    return " ".join(filter(None, [names[0] if names else "Linux", f"(kernel {kernel})" if kernel else ""]))


def _names(root: Path) -> dict[str, str]:
    vendor, product = (_text(root / "sys/class/dmi/id" / name) for name in ("sys_vendor", "product_name"))
    return {"system_name": f"{vendor} {product}".strip()} if vendor or product else {}


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m harness.system_description", allow_abbrev=False,
                                     description="Describe this machine for a submission.")
    parser.add_argument("--system-file", type=Path, help="TOML with what a machine cannot say (harness/systems/)")
    parser.add_argument("--root", type=Path, default=Path("/"),
                        help="read another machine's /proc and /sys (default %(default)s)")
    return parser.parse_args(argv)


def main() -> int:
    """Prints the description; the last line names what is left to fill."""
    settings = parse()
    print(f"harness.system_description: {json.dumps({key: str(value) for key, value in vars(settings).items()})}")
    found = describe(settings.root, read_overrides(settings.system_file) if settings.system_file else {})
    for key, value in found.values.items():
        print(f"{key:36} {value}")
    print(json.dumps({"unsaid": found.unsaid, "system": found.values}))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
