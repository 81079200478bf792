"""The launcher of an installed wheel: `ireeperf harness.offline --help` runs what `python -m harness.offline` runs in a checkout.

In the wheel the stages lie under ireeperf/_stages, so that no other distribution's `runtime` or `eval` can overwrite them.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

COMMANDS = (
    "export.sdxl", "export.llm", "export.samples", "export.prompts", "export.quantize", "specs.render", "specs.port",
    "compile.precompile", "compile.dispatches", "compile.tune", "compile.verify",
    "runtime.topology", "harness.offline", "harness.server", "harness.interactive", "harness.simulate",
    "harness.compliance", "harness.submission", "harness.system_description", "harness.advice", "harness.perfetto",
    "eval.score", "eval.text_score", "eval.part_3", "eval.report")


def stages_root() -> Path:
    """The folder that holds the stages: _stages in a wheel, the checkout otherwise."""
    package = Path(__file__).resolve().parent
    return package / "_stages" if (package / "_stages").is_dir() else package.parent


def main() -> None:
    """Run one stage's command line as its own program."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        asked = f"no command {sys.argv[1]!r}" if len(sys.argv) > 1 and sys.argv[1] not in ("-h", "--help") else "usage: ireeperf COMMAND ..."
        print(f"{asked}; commands: {', '.join(COMMANDS)}", file=sys.stderr)
        raise SystemExit(0 if len(sys.argv) > 1 and sys.argv[1] in ("-h", "--help") else 2)
    sys.path.insert(0, str(stages_root()))  # in front: a hostile or unlucky top-level `runtime` must not win
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
