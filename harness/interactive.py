"""MLPerf's Interactive scenario of a decoder: LoadGen's Server with the model key <model>-interactive, whose limits are tighter.

    python -m harness.interactive                                        # the newest build, its prompt set
"""

from __future__ import annotations

import os

from harness.supervisor import supervised


def main() -> int:
    """Imported here: the supervising parent forks this before anything has threads."""
    from harness import scenario

    return scenario.main("Interactive")


if __name__ == "__main__":
    os._exit(supervised(main))
