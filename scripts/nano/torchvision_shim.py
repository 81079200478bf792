"""Lets torchvision import beside a CPU build of torch, where its compiled operators cannot load."""

from __future__ import annotations

import functools


@functools.cache
def install() -> object:
    """Define the two operator schemas torchvision registers fakes for; a no-op on a CUDA build. Call before diffusers.

    Returns the library object: the schemas live as long as it does, and the cache keeps it.
    """
    import torch

    if torch.version.cuda is not None:
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if hasattr(torch.ops.torchvision, name):
            continue  # another stage in this process has defined it
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library
