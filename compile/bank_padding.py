"""Shared memory without bank conflicts on CUDA: other passes for marked TileAndFuse dispatches, put in between two phases of a compile.

IREE 3.13 pads a row of a matmul's operands in shared memory by 64 bits, whatever a record says. On tensor cores of sm_80 eight rows of
16 bytes are read at once, and rows of 16 n + 4 elements put them on each bank twice; 16 n + 8 do not. A record that sets
shared_memory_padding_bits gets a pass pipeline of its own after configuration, for a configuration cannot carry it: of a pipeline other
than its own the compiler copies the root's tiles to all operations, and crashes (docs/CUDA.md has the figures).
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

from ireeperf.errors import CompileError, MissingFileError, exit_code
from specs.lowering_keys import PADDING_MARK

PHASE = "executable-configurations"
SPEC_FLAG = "--iree-codegen-transform-dialect-library="  # CUDA's alone: compile/flags.py
_MARKED = re.compile(r"#iree_gpu\.pipeline<TileAndFuse>(?P<rest>[^{}]*\{(?P<options>[^{}]*" + re.escape(PADDING_MARK) + r" = (?P<bits>\d+)[^{}]*)\})")
_TIDY = ("iree-codegen-config-tracking-canonicalize", "cse")
_CANONICAL = ("canonicalize", "cse")
_ALLOCATION = b"malloc"
# The passes of TileAndFuse in 3.13 as --mlir-print-ir-before-all names them, less those that do nothing on CUDA. What differs:
# - padding-bits (64);
# - max-vector-size (64): a result of more numbers a thread was written to local memory and added to its bias in a loop;
# - no combine-source- and combine-result-layout-transformation, which make residuals and results accesses of 2 bytes, by way of local memory;
# - no lower-arg-compare-to-vector: a textual pipeline may not hold a pass of func.func alone, and no matmul has such an operation.
# {igemm} and {normalize}: a convolution as one matrix product. Test: with the compiler's own choices the code is the compiler's own.
PASSES = (
    "{igemm}iree-convert-accgemm-to-gemm", "iree-codegen-tile-and-distribute-to-workgroups-using-forall-op", *_TIDY,
    "iree-codegen-gpu-pad-operands", "iree-codegen-gpu-promote-matmul-operands", "iree-codegen-gpu-tile-and-convert-conv-to-matmul",
    "iree-codegen-gpu-pack-to-intrinsics", "iree-codegen-decompose-boundary-pack-unpack-ops", "iree-gpu-expand-undistributed-inner-tiles",
    "iree-codegen-propagate-reshapes-by-expansion",
    "iree-codegen-gpu-apply-tiling-level{{allow-zero-slices=true fuse-consumers=true normalize-loops={normalize} tiling-level=reduction}}", *_TIDY,
    "iree-codegen-decompose-pack-unpack-ops{{tile-outer-to-one=false use-only-reshapes=true}}", "iree-gpu-expand-undistributed-inner-tiles",
    "iree-codegen-propagate-reshapes-by-expansion", *_TIDY,
    "iree-codegen-gpu-apply-tiling-level{{allow-zero-slices=true fuse-consumers=false normalize-loops={normalize} tiling-level=thread}}", *_TIDY,
    "iree-codegen-gpu-apply-tiling-level{{allow-zero-slices=true fuse-consumers=false normalize-loops=false tiling-level=subgroup}}",
    "iree-gpu-distribute-inner-tiled-to-lanes", "iree-codegen-normalize-loop-bounds{{normalize-for=false normalize-forall=true}}", *_TIDY,
    "iree-loop-invariant-code-motion", "iree-codegen-optimize-tensor-insert-extract-slices{{fold-identity-slices=true}}",
    "iree-codegen-gpu-fuse-and-hoist-parallel-loops", "{layouts}iree-codegen-gpu-greedily-distribute-to-threads",
    "iree-codegen-tile-large-tensors{{max-vector-size={vector}}}", *_CANONICAL, "iree-codegen-propagate-dispatch-size-bounds",
    "iree-loop-invariant-code-motion", "iree-codegen-gpu-combine-value-semantic-barriers",
    "iree-codegen-decompose-convolution-to-lower-dim-ops", *_CANONICAL, "iree-codegen-materialize-vector-tile-sizes",
    "iree-codegen-generic-vectorization{{enable-cleanup=false enable-vector-masking=true fold-cast-into-contract=true generate-contract=true "
    "use-configured-vector-sizes=true vectorize-copies=false vectorize-map-store=true}}",
    "iree-linalg-ext-decompose-im2col{{unroll=true}}", *_CANONICAL,
    "iree-codegen-optimize-tensor-insert-extract-slices{{fold-identity-slices=true}}", *_CANONICAL, "iree-codegen-materialize-vector-masking",
    "iree-codegen-cleanup-buffer-alloc-view", "iree-codegen-gpu-combine-value-semantic-barriers", "iree-eliminate-empty-tensors",
    "empty-tensor-to-alloc-tensor", "iree-codegen-gpu-infer-memory-space", "iree-codegen-gpu-alloc-private-memory-for-dps-ops",
    "iree-codegen-iree-comprehensive-bufferize", "iree-codegen-inject-assume-alignment", "resolve-shaped-type-result-dims",
    "iree-codegen-canonicalize", "cse", "iree-codegen-canonicalize", "iree-codegen-cleanup-buffer-alloc-view", *_CANONICAL,
    "iree-linalg-ext-decompose-map-store", "iree-codegen-gpu-distribute-copy-using-forall",
    "iree-codegen-normalize-loop-bounds{{normalize-for=false normalize-forall=true}}", "iree-codegen-gpu-verify-distribution",
    "iree-codegen-gpu-distribute-forall", "iree-codegen-vectorize-memref-copy", "iree-gpu-unroll-to-intrinsics", *_CANONICAL,
    "iree-codegen-propagate-dispatch-size-bounds", "iree-gpu-lower-ops", "iree-codegen-unroll-annotated-loops",
    "iree-loop-invariant-code-motion", "iree-codegen-gpu-reduce-bank-conflicts{{padding-bits={bits}}}",
    "iree-codegen-hoist-statically-bound-allocations", "iree-codegen-fold-memref-alias-ops", *_CANONICAL,
    "iree-codegen-optimize-vector-transfer", "iree-codegen-hoist-statically-bound-allocations", *_CANONICAL,
)
LAYOUTS = ("iree-codegen-combine-source-layout-transformation", "iree-codegen-combine-result-layout-transformation{scope=workgroup}")


def marked(text: str) -> bool:
    """Whether a module has a dispatch to be given other passes; before configuration and after it."""
    return PADDING_MARK in text


def padded(text: str, vector: int = 512, layouts: Sequence[str] = ()) -> str:
    """A module after configuration (PHASE) with the passes of its marked dispatches in it. `vector` and `layouts` are for the test:
    64 and LAYOUTS are the compiler's own choice. CompileError when a marked one cannot be given them."""
    def passes(found: re.Match[str]) -> str:
        igemm = "use_igemm_convolution = true" in found["options"]
        line = ",".join(PASSES).format(igemm="iree-codegen-convolution-to-igemm," if igemm else "", normalize=str(igemm).lower(),
                                       bits=found["bits"], vector=vector, layouts="".join(f"{one}," for one in layouts))
        return f'#iree_codegen.pass_pipeline<"{line}">{found["rest"]}'
    text, count = _MARKED.subn(passes, text)
    if count != (wanted := text.count(f"{PADDING_MARK} = ")):
        raise CompileError(f"{wanted - count} of {wanted} dispatches with {PADDING_MARK} are no TileAndFuse ones of a form that this release reads; leave "
                           "shared_memory_padding_bits out of their records")
    return text


def refuse(vmfb: Path) -> None:
    """CompileError when a kernel would allocate memory: bufferization in a textual pipeline makes calls of what the compiler's own keeps on
    the stack, and the device's heap of 8 MB is soon used up (the kernel then crashes)."""
    if _ALLOCATION in vmfb.read_bytes():
        raise CompileError(f"{vmfb.name}: a thread of a padded kernel would allocate memory of the device; leave shared_memory_padding_bits out of "
                           "the record whose result is neither added to nor stored in the tile's own layout")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="compile.bank_padding", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("module", type=Path, help=f"MLIR that iree-compile --compile-to={PHASE} wrote; rewritten in place")
    path = parser.parse_args(argv).module
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; write it with iree-compile --compile-to={PHASE}")
    text = path.read_text()
    path.write_text(padded(text))
    print(json.dumps({"module": str(path), "padded": len(_MARKED.findall(text))}))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
