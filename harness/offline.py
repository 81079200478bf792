"""LoadGen's Offline scenario: one query holds every sample, the score is samples per second.

    python -m harness.offline                                            # the newest build, its sample set
    python -m harness.offline --manifest build/sdxl_nano_bs8-cpu --mode accuracy --sample-count 256
"""

from __future__ import annotations

import os

from harness.supervisor import supervised


def main() -> int:
    """Imported here: the supervising parent forks this before anything has threads."""
    from harness import scenario

    return scenario.main("Offline")


if __name__ == "__main__":
    os._exit(supervised(main))
