"""What torch, torchvision and transformers need before a model can be built, traced and exported on a CPU build."""

from __future__ import annotations

import functools
import os
import warnings
from types import SimpleNamespace
from typing import Any

from ireeperf import torchvision_schemas


@functools.cache
def prepare() -> None:
    """Call before the first import of diffusers or transformers; the second call does nothing."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a checkpoint is a local folder: never ask the network for a file
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import torch

    # diffusers calls torch.concat; turbine emits it as torch.aten.concat, which IREE cannot legalize (cat is the same)
    torch.concat = torch.cat
    # turbine reads attributes torch has renamed, and tracing CLIP warns of its own masks: nothing a user can act on
    warnings.filterwarnings("ignore", module=r"(torch|iree\.turbine|transformers|diffusers)\b.*")
    warnings.filterwarnings("ignore", message=r".*LeafSpec.*", category=FutureWarning)  # torch copying its own specs
    torchvision_schemas.declare(torch)
    _read_signatures_once()


def _read_signatures_once() -> None:
    """torch 2.13 makes a dictionary of all inputs anew for each input that it carries metadata over to: 22 of the 150 CPU seconds that
    SDXL's UNet in FP8 took to export."""
    from torch._export import utils
    from torch.export import _trace, exported_program

    carry = utils._populate_param_buffer_metadata_to_new_gm

    def once(metadata: dict[str, Any], module: Any, signature: Any) -> None:
        carry(metadata, module, SimpleNamespace(inputs_to_parameters=signature.inputs_to_parameters,
                                                inputs_to_buffers=signature.inputs_to_buffers))

    for user in (_trace, exported_program):
        user._populate_param_buffer_metadata_to_new_gm = once
