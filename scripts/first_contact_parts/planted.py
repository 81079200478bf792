"""A deliberate defect: one dispatch computes something else. For rehearsals: does the check name it, and only it?"""

from __future__ import annotations

import re

from ireeperf.errors import ConfigError

# a sum of products is scaled, not turned round: in a dispatch that adds a bias of zeros a swapped sign changes nothing
_SWAPS = (("arith.mulf", "arith.addf"), ("arith.subf", "arith.addf"), ("arith.addf", "arith.mulf"), ("arith.divf", "arith.mulf"))


def plant(flow: str, name: str) -> str:
    """The flow-level module with the arithmetic of the dispatch `name` (part of its label) changed in one place.

    A module without such a dispatch comes back as it is; ConfigError where the dispatch has no arithmetic to change.
    """
    for match in re.finditer(r"^  flow\.executable private @\S+ \{$.*?^  \}$", flow, re.MULTILINE | re.DOTALL):
        body = match.group()
        if not re.search(rf"@[\w$]*{re.escape(name)}(?!\d)", body):
            continue
        for old, new in _SWAPS:
            if f" {old} " in body:
                return flow[:match.start()] + body.replace(f" {old} ", f" {new} ", 1) + flow[match.end():]
        raise ConfigError(f"dispatch {name!r} has no float arithmetic to change; choose another for --plant-defect")
    return flow
