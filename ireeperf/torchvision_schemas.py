"""Lets torchvision import beside a CPU build of torch.

torchvision's wheels are built against CUDA torch; beside a CPU torch their compiled operators do not load, and
`import torchvision` stops at "operator torchvision::nms does not exist". Transforms and network definitions, all that
open_clip and pytorch-fid need of it, use none of these operators, so declaring the two schemas is enough.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

OPERATORS = ("nms", "qnms")


@functools.cache
def declare(torch: ModuleType) -> Any:
    """Declare the operators that `torch`, the imported module, lacks; nothing on a CUDA build.

    Call before importing diffusers, open_clip or pytorch_fid. Returns the library; the cache keeps it, because the schemas live as long
    as it does.
    """
    if torch.version.cuda is not None:
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library
