"""LoadGen's Server scenario: samples arrive one by one at --user-conf's target_qps, 99 % of them must be back within 20 s.

    python -m harness.server                                             # the newest build, its sample set
    python -m harness.server --preset mi325x_cpx --manifest build/sdxl_fp16_bs2-gfx942 --user-conf user.conf
"""

from __future__ import annotations

import os

from harness.supervisor import supervised


def main() -> int:
    """Imported here: the supervising parent forks this before anything has threads."""
    from harness import scenario

    return scenario.main("Server")


if __name__ == "__main__":
    os._exit(supervised(main))
