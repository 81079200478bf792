"""What torch, torchvision and transformers need before a model can be built, traced and exported on a CPU build."""

from __future__ import annotations

import functools
import os
import warnings

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
