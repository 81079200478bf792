"""compile/cuda_layout.py: a CUDA build that IREE 3.13 computes wrongly in float16 is refused, with the dispatch; one around it is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from compile import cuda_layout, dispatch_ir, dumps, reporting, target
from compile.compiler import Task, compile_all
from compile.flags import flags
from ireeperf.errors import CompileError
from specs.match import Match

CONV = Path(__file__).resolve().parents[1] / "docs/compiler_bugs/cuda_conv1x1_f16.mlir"
PLAIN = ("--iree-hal-target-device=cuda", "--iree-cuda-target=sm_80", "--iree-opt-level=O3")
HALF = "!torch.vtensor<[2,32,8,8],f16>"


def compiled(text, chosen, folder):
    """The zip of dumps of one program."""
    source = folder / "program.mlir"
    source.write_text(text)
    task = Task(label="program", mlir=source, flags=("--iree-input-type=torch", *chosen), folder=folder / "out", name="program", log=folder / "log",
                dispatches=True)
    for _ in compile_all([task], 1):
        pass
    return folder / "out" / f"program{dumps.SUFFIX}"


def concatenation():
    """The reproducer's convolution, of two arguments side by side."""
    text = CONV.read_text().replace("%image: !torch.vtensor<[2,64,8,8],f16>", f"%a: {HALF}, %b: {HALF}")
    joined = (f"  %pair = torch.prim.ListConstruct %a, %b : ({HALF}, {HALF}) -> !torch.list<vtensor>\n"
              "  %image = torch.aten.cat %pair, %one : !torch.list<vtensor>, !torch.int -> !torch.vtensor<[2,64,8,8],f16>\n")
    return text.replace("  %result", f"{joined}  %result", 1)


def biased():
    """The reproducer's convolution as a network has it."""
    last = "%filter: !torch.vtensor<[128,64,1,1],f16>"
    return (CONV.read_text().replace(f"{last})", f"{last}, %bias: !torch.vtensor<[128],f16>)").replace("%filter, %none,", "%filter, %bias,")
            .replace("!torch.none, !torch.list", "!torch.vtensor<[128],f16>, !torch.list"))


@pytest.mark.parametrize(("text", "chosen", "wrong"), [
    (biased(), PLAIN, 1), (biased(), flags(target.find("sm_80"), None), 0), (concatenation(), flags(target.find("sm_80"), None), 1)])
def test_what_came_out_wrong_on_an_h100_is_found(text, chosen, wrong, tmp_path):
    """Relative errors there (docs/CUDA.md): 0.69 with plain flags, 2.1e-4 with ours, 1.0 of a concatenation whatever the flags."""
    found = cuda_layout.miscompiled(dispatch_ir.dispatches(compiled(text, chosen, tmp_path)))
    assert len(found) == wrong and all("result (d0, d1, d2, d3) -> " in one for one in found), found


def test_the_build_is_refused_with_the_dispatch(monkeypatch, tmp_path):
    match = Match(kind="contraction", types=("f16", "f16", "f32"), dims=(2, 128, 64, 64), maps=(
        "(d0, d1, d2, d3) -> (d0, d2, d3)", "(d0, d1, d2, d3) -> (d1, d3)", "(d0, d1, d2, d3) -> (d0, d1, d2)"))
    one = SimpleNamespace(name="main$async_dispatch_0", calls=3, match=match, tuned_by=None, matches=(match,),
                          configuration="#iree_gpu.pipeline<TileAndFuse> mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>")
    monkeypatch.setattr(reporting, "build_report", lambda *_: (SimpleNamespace(dispatches=()), [one]))
    with pytest.raises(CompileError, match=r"(?s)1 dispatch.*float32.*main\$async_dispatch_0 \(3 calls\)"):
        reporting.write_report(tmp_path, SimpleNamespace(executables=(), target="sm_80"))
    straight = replace(match, maps=(*match.maps[:2], "(d0, d1, d2, d3) -> (d0, d2, d1)"))
    other = SimpleNamespace(**vars(one) | {"match": straight})
    mfma = SimpleNamespace(**vars(one) | {"configuration": one.configuration.replace("NV_MMA_SYNC", "MFMA")})
    simt = SimpleNamespace(**vars(one) | {"configuration": "#iree_gpu.pipeline<Distribute>"})
    assert cuda_layout.miscompiled([other, mfma, simt]) == []
