"""Match: which dispatch a record is for, read off the root operation's own iteration space. Names and roles follow from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from ireeperf.errors import ConfigError

Kind = Literal["contraction", "convolution", "attention", "reduction"]
ROLES = {
    "contraction": ("batch", "m", "n", "k"),
    "convolution": ("batch", "image", "output_channel", "filter", "input_channel", "depth"),
    "attention": ("batch", "m", "n", "k1", "k2"),
    "reduction": ("parallel", "reduced"),
}
_SHORT = {"batch": "b", "image": "i", "output_channel": "f", "filter": "r", "input_channel": "c", "depth": "g",
          "parallel": "p", "reduced": "r", "k1": "qk", "k2": "kv"}
# Layouts that a name does not spell out: torch's linear layers and convolutions (channels first), attention as IREE passes it (V transposed)
_USUAL: dict[str, tuple[tuple[str, ...], ...]] = {
    "contraction": (("mk", "nk", "mn"), ("bmk", "bnk", "bmn")),
    "convolution": (("bci", "fcr", "bfi"),),
    "attention": (("bmk", "bvk", "bnv", "bmn", "bm", "bm"),),
    "reduction": (("pr", "p"),),
}
_MAP = re.compile(r"\((?P<dims>d\d+(?:, d\d+)*)\) -> \((?P<results>[^()]*)\)")
_DIM = re.compile(r"d(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One root operation. `dims` are the sizes of its loops d0, d1, ... in order; `maps` and `types` go operand by operand,
    inputs first. -1 as a size: any (the record says what it must be a multiple of in `multiples`, same order, 1: nothing)."""

    kind: Kind
    types: tuple[str, ...]  # element types: f16, f16, f32; attention: query, key, value, scale, output, maximum, sum
    maps: tuple[str, ...]  # "(d0, d1, d2) -> (d0, d2)"
    dims: tuple[int, ...]
    multiples: tuple[int, ...] = ()
    body: str | None = None  # a reduction's body, one operation after the other: "mulf addf"; tells mean from variance

    def __post_init__(self) -> None:
        if len(self.types) != len(self.maps):
            raise ConfigError(f"match has {len(self.types)} types and {len(self.maps)} maps; one each per operand")
        if self.multiples and len(self.multiples) != len(self.dims):
            raise ConfigError(f"match has {len(self.multiples)} multiples for {len(self.dims)} dims; one each, or none")
        for text in self.maps:
            found = _MAP.fullmatch(text)
            if found is None or found["dims"] != ", ".join(f"d{index}" for index in range(len(self.dims))):
                raise ConfigError(f"map {text!r} does not go over the {len(self.dims)} dims d0, d1, ...")

    @property
    def roles(self) -> dict[str, tuple[int, ...]]:
        """Loop indices by role (ROLES[kind]), ascending; a role that no loop has is empty."""
        found: dict[str, list[int]] = {role: [] for role in ROLES[self.kind]}
        for index in range(len(self.dims)):
            found[_role(self, index)].append(index)
        return {role: tuple(indices) for role, indices in found.items()}

    @property
    def name(self) -> str:
        """Kind, sizes by role, types, and the operands' layouts where they are not the usual ones: contraction_m2048_n10240_k1280_f16xf16xf32
        has k innermost in both inputs, contraction_m2048_n10240_k1280_f16xf16xf32_mkxknxmn is the plain matrix product of row-major ones."""
        sizes = ["".join((_SHORT.get(role, role), "x".join("any" if self.dims[i] < 0 else str(self.dims[i]) for i in indices)))
                 for role, indices in self.roles.items() if indices]
        found = [self.kind, *sizes, "x".join(self.types[:3] if self.kind != "attention" else self.types[:1])]
        return "_".join(found if self._layout in _USUAL[self.kind] else [*found, "x".join(self._layout)])

    @property
    def _layout(self) -> tuple[str, ...]:
        """Roles of each operand's dimensions, outermost first, neighbours of one role together: ("mk", "nk", "mn"). Scalars are left out."""
        role_of = {index: role for role, indices in self.roles.items() for index in indices}
        operands = [[_SHORT.get(role_of[min(part)], role_of[min(part)])[-1] for part in uses(text) if part] for text in self.maps]
        return tuple("".join(letter for letter, _ in groupby(letters)) for letters in operands if letters)


def uses(text: str) -> tuple[frozenset[int], ...]:
    """Per result of the map `text`, the loops it depends on: (d0, d2 + d5) gives {0}, {2, 5}."""
    found = _MAP.fullmatch(text)
    assert found is not None, text
    results = [part for part in found["results"].split(",") if part.strip()]
    return tuple(frozenset(int(index) for index in _DIM.findall(part)) for part in results)


def _role(match: Match, index: int) -> str:
    """Role of loop `index`, from which operands it indexes (and, for convolutions, whether it slides)."""
    within = [any(index in part for part in uses(text)) for text in match.maps]
    if match.kind == "reduction":
        return "parallel" if within[-1] else "reduced"
    if match.kind == "attention":  # query [.. m k1], key [.. k2 k1], value [.. k2 n], output [.. m n]
        query, key, value = within[:3]
        if query and key and value:
            return "batch"
        return ("k1" if key else "m") if query else ("k2" if key else "n")
    lhs, rhs, out = within[0], within[1], within[-1]
    if match.kind == "contraction":
        return ("batch" if out else "k") if lhs and rhs else ("m" if lhs else "n") if out else "k"
    slides = any(index in part and len(part) > 1 for part in uses(match.maps[0]))
    if slides:
        return "image" if out else "filter"
    return ("depth" if out else "input_channel") if lhs and rhs else "batch" if lhs else "output_channel"
