"""Every error a user can meet. `main()` of each CLI prints these without a traceback and exits with code 2.

PipelineError
├── ConfigError          a setting, a JSON or TOML document, or a command line is wrong
├── MissingFileError     files the user must bring are absent; each is named with checksum and source
├── ExportError          PyTorch to MLIR failed
├── CompileError         iree-compile failed, or left no .vmfb
├── ManifestError        a manifest, executable or parameter archive does not fit what was asked
├── DeviceError          a device could not be opened, or was lost
├── RunError             a LoadGen run cannot start, or did not finish
└── ScoreError           an accuracy log or a reference cannot be scored

Anything else that escapes is a bug in ireeperf.
"""

from __future__ import annotations

import sys
from collections.abc import Callable


class PipelineError(Exception):
    """Base of all errors caused by input, environment or hardware. The text says what, which value, and what to do."""


class ConfigError(PipelineError):
    """A setting, document or command line is wrong."""


class MissingFileError(PipelineError):
    """Files that the user must bring are absent."""


class ExportError(PipelineError):
    """PyTorch could not be exported to MLIR."""


class CompileError(PipelineError):
    """iree-compile failed, or exited 0 without writing the executable."""


class ManifestError(PipelineError):
    """A manifest, executable or parameter archive does not fit what was asked."""


class DeviceError(PipelineError):
    """A device could not be opened, or was lost."""


class RunError(PipelineError):
    """A LoadGen run cannot start, or did not finish."""


class ScoreError(PipelineError):
    """An accuracy log or a reference cannot be scored."""


def exit_code(main: Callable[[], int | None]) -> int:
    """Run a CLI body: 0 or its own code; 2 and one line on stderr for a PipelineError; 130 on Ctrl-C."""
    try:
        return main() or 0
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
