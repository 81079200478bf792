"""AMD GPUs and their partitions in sysfs. Everything is read under `root`, so that a test can bring its own tree.

What says what (Linux, drivers/gpu/drm/amd/amdgpu and drivers/gpu/drm/amd/amdkfd/kfd_topology.c):
- /sys/class/drm/card*/device of a GPU has its mode (current_compute_partition, current_memory_partition) and numa_node. Its
  further partitions are cards too, whose device is a platform device amdgpu_xcp_<n> without these files.
- /sys/class/kfd/kfd/topology/nodes/* has one node per logical device: simd_count / simd_per_cu compute units, memory banks
  (in CPX/NPS1 the GPU's memory over its partitions), and the GPU's PCI address in location_id, whose function bits count
  partitions.
- A partition that finds no free DRM node is left out of both ("Won't add GPU to topology since it has no drm node
  assigned").
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

AMD = 0x1002  # PCI vendor
DEVICE_HEAPS = (1, 2)  # HSA_HEAPTYPE_FRAME_BUFFER_PUBLIC and _PRIVATE; the other heaps are the host's
Address = tuple[int, int, int]  # PCI domain, bus, device: one per physical GPU


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A physical GPU."""

    device_id: int  # PCI; 0: not said
    mode: str  # "CPX/NPS1"; "-" where the driver knows no partitions
    numa_node: int  # -1: the kernel does not know
    vram_bytes: int  # 0: not said


@dataclass(frozen=True, slots=True, kw_only=True)
class Logical:
    """A logical device: one KFD node."""

    compute_units: int
    memory_bytes: int  # 0: not said


def cards(root: Path) -> dict[Address, Gpu]:
    """Physical AMD GPUs by PCI address."""
    found = {}
    for device in (card / "device" for card in _drm_nodes(root)):
        lines = (line.partition("=") for line in text(device / "uevent").splitlines())
        slot = next((value for name, _, value in lines if name == "PCI_SLOT_NAME"), "")
        if slot and _number(device / "vendor", base=16) == AMD:
            compute, memory = text(device / "current_compute_partition"), text(device / "current_memory_partition")
            found[address_of(slot)] = Gpu(
                device_id=_number(device / "device", base=16), mode=f"{compute}/{memory or '-'}" if compute else "-",
                numa_node=_number(device / "numa_node", absent=-1), vram_bytes=_number(device / "mem_info_vram_total"))
    return found


def kfd_nodes(root: Path) -> dict[Address, list[Logical]]:
    """Logical devices of each GPU in KFD's order: HIP's, unless ROCR_VISIBLE_DEVICES is set. Nodes of CPUs have no SIMDs."""
    found: dict[Address, list[Logical]] = {}
    for node in sorted((root / "sys/class/kfd/kfd/topology/nodes").glob("[0-9]*"), key=lambda path: int(path.name)):
        properties = _properties(node / "properties")
        if not properties.get("simd_count"):
            continue
        banks = [_properties(bank) for bank in node.glob("mem_banks/*/properties")]
        location = properties.get("location_id", 0)
        found.setdefault((properties.get("domain", 0), location >> 8 & 0xFF, location >> 3 & 0x1F), []).append(Logical(
            compute_units=properties["simd_count"] // max(properties.get("simd_per_cu", 1), 1),
            memory_bytes=sum(bank.get("size_in_bytes", 0) for bank in banks if bank.get("heap_type") in DEVICE_HEAPS)))
    return found


def foreign_drm_nodes(root: Path = Path("/")) -> tuple[str, ...]:
    """DRM nodes of other drivers than amdgpu, as "card0 (ast)"."""
    found = []
    for card in _drm_nodes(root):
        device = (card / "device").resolve()
        driver = (device / "driver").resolve().name if (device / "driver").exists() else "no driver"
        if driver != "amdgpu" and not device.name.startswith("amdgpu_xcp"):
            found.append(f"{card.name} ({driver})")
    return tuple(found)


def available_modes(root: Path = Path("/")) -> tuple[str, ...]:
    """Compute modes that every GPU offers in its present memory mode; empty where the driver does not say."""
    offers = [set(words.replace(",", " ").split()) for card in _drm_nodes(root)
              if (words := text(card / "device/available_compute_partition"))]
    return tuple(sorted(set.intersection(*offers))) if offers else ()


def address_of(slot: str) -> Address:
    """"0000:05:00.0" -> (0, 5, 0)."""
    domain, bus, rest = slot.strip().split(":")
    return int(domain, 16), int(bus, 16), int(rest.partition(".")[0], 16)


def text(path: Path) -> str:
    """A file's text without its newline; empty when it is absent or, as in a container, may not be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _drm_nodes(root: Path) -> list[Path]:
    """card0, card1, ...; connectors (card0-VGA-1) and render nodes left out."""
    named = [path for path in (root / "sys/class/drm").glob("card*") if path.name[4:].isdigit()]
    return sorted(named, key=lambda path: int(path.name[4:]))


def _properties(path: Path) -> dict[str, int]:
    """KFD's lines of `name number`."""
    pairs = [line.split() for line in text(path).splitlines()]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _number(path: Path, *, base: int = 10, absent: int = 0) -> int:
    found = text(path)
    return int(found, base) if found else absent
