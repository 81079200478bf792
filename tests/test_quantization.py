"""Ranges: the document, what AMD's published layout maps to, who decides a layer's precision, and a VAE that float16 holds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from export import checkpoint_files, export_key, precision, quantization, quantize, torch_setup
from export.model_config import ModelConfig
from export.quantization import AttentionRange, Quantization
from ireeperf import document
from ireeperf.errors import ConfigError, MissingFileError
from tests import tiny_sdxl

torch_setup.prepare()
torch = pytest.importorskip("torch")
from export import quantized_unet  # noqa: E402
from export.calibrate import Maxima, Rows, fitted, input_codes, observed, ranges, shared_inputs  # noqa: E402
from export.quantized_layers import INT8, QuantizedLayer  # noqa: E402

pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in tiny_sdxl.LIBRARY_WARNINGS]
BLOCK = "down_blocks.1.attentions.0.transformer_blocks.0"


def amd(**changes: Any) -> ModelConfig:
    return tiny_sdxl.config(**{"unet_precision": "amd", "attention": "explicit"} | changes)


def unet() -> Any:
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    return UNet2DConditionModel(**tiny_sdxl.UNET).eval().requires_grad_(False)


def arguments() -> dict[str, Any]:
    draw = torch.Generator().manual_seed(2)
    return {"sample": torch.randn((2, 4, 6, 8), generator=draw), "timestep": torch.tensor(500),
            "encoder_hidden_states": torch.randn((2, 64, 64), generator=draw),
            "added_cond_kwargs": {"text_embeds": torch.randn((2, 32), generator=draw), "time_ids": torch.ones(2, 6)}}


def save_amd(folder: Path, plain: Any, maxima: Maxima, premul: float = 2.0) -> None:
    """The float weights and ranges of `plain` in AMD's layout: query, key and value fused, SmoothQuant multipliers of `premul`."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    weights, params = dict(plain.state_dict()), {}

    def put(name: str, parts: list[str]) -> None:
        weight = torch.cat([weights.pop(f"{part}.weight") for part in parts]) / premul
        weights[f"{name}.weight"] = weight
        if f"{parts[0]}.bias" in weights and parts != [name]:
            weights[f"{name}.bias"] = torch.cat([weights.pop(f"{part}.bias") for part in parts])
        scale = weight.flatten(1).abs().amax(1) / 127
        shape = [len(scale), *(1 for _ in weight.shape[1:])]
        params[name] = {"smoothquant_mul": [premul] * weight.shape[1], "smoothquant_mul_shape": [1, 1, weight.shape[1]],
                        "input_scale": maxima.value(parts[0]) * premul / 128, "input_scale_shape": [], "input_zp": 0, "input_zp_shape": [],
                        "input_zp_dtype": "torch.int8", "weight_scale": scale.tolist(), "weight_scale_shape": shape,
                        "weight_zp": [0.0] * len(scale), "weight_zp_shape": shape, "weight_zp_dtype": "torch.int8"}

    for name, child in plain.named_modules():
        if not isinstance(child, (torch.nn.Linear, torch.nn.Conv2d)) or any(part in name for part in precision.FLOAT_LAYERS):
            continue
        parent, _, last = name.rpartition(".")
        group = {"attn1": ["to_q", "to_k", "to_v"], "attn2": ["to_k", "to_v"]}.get(parent.rpartition(".")[2], [])
        if last not in group:
            put(name, [name])
        elif last == group[0]:
            put(f"{parent}.{'to_qkv' if len(group) == 3 else 'to_kv'}", [f"{parent}.{part}" for part in group])
    for name in {key.rpartition(".")[0] for key in maxima.found if key.endswith(":")}:
        for ours, theirs in (("to_q", "out_q"), ("to_k", "out_k"), ("to_v", "out_v")):
            params[f"{name}.{theirs}"] = {"act_scale": maxima.value(f"{name}.{ours}:") / 240, "act_scale_shape": [], "act_zp": 0.0,
                                          "act_zp_shape": [], "act_zp_dtype": "torch.float8_e4m3fnuz"}
        params[f"{name}.output_softmax_quant"] = {"act_scale": 1 / 240, "act_scale_shape": []}
    weights["time_embedding.linear_1.weight"] = weights["time_embedding.linear_1.weight"] / premul
    params["time_embedding.linear_1"] = {"smoothquant_mul": [premul] * 16, "smoothquant_mul_shape": [1, 16]}
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / quantization.AMD_PARAMS)
    (folder / quantization.AMD_QUANT_PARAMS).write_text(json.dumps(params))


def calibrated(plain: Any, rows: Rows | None = None) -> Maxima:
    with torch.no_grad(), observed(plain, rows or Rows(1, 1)) as maxima:
        plain(**arguments())
    return maxima


def fit(plain: Any) -> tuple[Quantization, dict[str, Any]]:
    rows = Rows(1, 1)
    maxima = calibrated(plain, rows)
    tensors, zeros = fitted(plain, rows, 1.0)
    return ranges(maxima, model="tiny", zeros=zeros), tensors


def quantized(config: ModelConfig, found: Quantization, tensors: dict[str, Any]) -> Any:
    other = unet()
    quantized_unet.quantize(other, config, "fnuz", found, tensors)
    return other


def error(found: Any, plain: Any) -> float:
    with torch.no_grad():
        ours, wanted = found(**arguments()).sample, plain(**arguments()).sample
    return float((ours - wanted).norm() / wanted.norm())


def test_a_quantized_unet_is_near_the_unet_and_amds_layout_gives_the_same(tmp_path: Path) -> None:
    plain = unet()
    maxima = calibrated(plain)
    ours = quantized(amd(), ranges(maxima, model="tiny"), {})
    assert error(ours, plain) < 0.05
    save_amd(tmp_path / "quant", plain, maxima)
    theirs = quantized(amd(), *quantized_unet.load(tmp_path / "quant"))
    assert error(theirs, ours) < 1e-3, "a multiplier of 2 on every input and half of every weight changes no code"
    quantize.import_amd(tmp_path / "quant", tmp_path / "written")
    assert error(quantized(amd(), *quantized_unet.load(tmp_path / "written")), theirs) == 0
    for config, limit in ((amd(unet_precision="fp8"), 0.15), (amd(layer_precisions={"*": "fp16"}), 0.03)):  # from int8 codes
        assert error(quantized(config, *quantized_unet.load(tmp_path / "quant")), plain) < limit


def test_steps_by_channel_round_better_than_one_range(tmp_path: Path) -> None:
    plain = unet()
    found, tensors = fit(plain)
    for first, readers in shared_inputs(plain).items():
        assert all(torch.equal(tensors[f"{name}.input_step"], tensors[f"{first}.input_step"]) for name in readers), "one input, one rounding"
    assert sorted(shared_inputs(plain)[f"{BLOCK}.attn1.to_q"]) == [f"{BLOCK}.attn1.{part}" for part in ("to_k", "to_q", "to_v")]
    moved = {name for name in found.zeros if found.zeros[name] < -64}
    assert "mid_block.resnets.0.conv1" in moved and len(moved) > 5, "after SiLU few codes are below that of zero"
    assert not any("shortcut" in name or "attn" in name for name in found.zeros)
    only = amd(layer_precisions={"*attn1": "fp16", "*attn2": "fp16"})
    assert error(quantized(only, found, tensors), plain) < 0.75 * error(quantized(only, dataclasses.replace(found, zeros={}), {}), plain)
    quantize.write(found, tensors, tmp_path)
    assert error(quantized(only, *quantized_unet.load(tmp_path)), quantized(only, found, tensors)) == 0
    floats = quantized(amd(layer_precisions={"*": "fp16"}), found, tensors)
    assert error(floats, plain) == 0, "what is of int8 changes no layer that stays float"


def test_one_channel_of_large_values_leaves_the_others_their_steps() -> None:
    draw = torch.Generator().manual_seed(3)
    rows = torch.randn((4000, 8), generator=draw) * torch.tensor([100.0] + [1.0] * 7)
    even = torch.ones(len(rows)) / len(rows)
    step, zero = input_codes(rows, even, torch.ones(8), True)
    assert zero == 0 and float(step[0] / step[1:].max()) > 50
    assert input_codes(rows.abs(), even, torch.ones(8), True)[1] == -112
    assert input_codes(rows.abs(), even, torch.ones(8), False)[1] == 0, "without a bias the code of zero cannot move"
    late = torch.where(torch.arange(len(rows)) < 2000, 1.0, 1e-6)
    rows[2000:] *= 3
    assert float(input_codes(rows, late, torch.ones(8), True)[0].max()) < 1.2 * float(step.max()), "rows of no weight set no step"
    assert float(input_codes(rows, even, torch.ones(8), True)[0].max()) > 2 * float(step.max())


def test_what_is_kept_of_the_inputs_is_bounded_and_half_of_it_late() -> None:
    rows = Rows(20, 20 * 300)
    for _ in range(20 * 300):
        rows.see("conv", torch.ones((1, 64, 8, 8)), True)
    kept, weights = rows.of("conv", 0.5)
    assert 0.9 < kept.numel() * 4 / (4 << 20) < 1.1
    late = torch.cat([torch.full((len(part),), late) for late, part in rows.kept["conv"]])
    assert 0.45 < float(late.float().mean()) < 0.55
    assert float(weights[late].sum()) == pytest.approx(2 / (2 + 18 * 0.5), rel=1e-4)


@pytest.mark.parametrize(("edit", "message"), [
    (lambda p: p[f"{BLOCK}.ff.net.2"].update(weight_zp=[3.0] * 32), "weight_zp 3 to 3 and weights of -127 to 127 steps"),
    (lambda p: p[f"{BLOCK}.ff.net.2"].update(weight_scale=[1e-5] * 32, weight_zp=[-128.0] * 32), "int8 codes without a zero point hold"),
    (lambda p: p[f"{BLOCK}.ff.net.2"].update(input_zp=1), "input_zp that is not 0"),
    (lambda p: p[f"{BLOCK}.ff.net.2"].pop("input_scale"), "no valid input_scale"),
    (lambda p: p.pop(f"{BLOCK}.attn1.out_k"), "out_q, out_k, out_v are needed"),
    (lambda p: p.update(absent=p[f"{BLOCK}.ff.net.2"]), "lacks absent.weight"),
])
def test_what_is_wrong_in_amds_files_is_named(tmp_path: Path, edit: Any, message: str) -> None:
    plain = unet()
    save_amd(tmp_path / "quant", plain, calibrated(plain))
    path = tmp_path / "quant" / quantization.AMD_QUANT_PARAMS
    params = json.loads(path.read_text())
    edit(params)
    path.write_text(json.dumps(params))
    with pytest.raises(ConfigError, match=message):
        quantized_unet.load(tmp_path / "quant")


def test_a_symmetric_layer_may_state_minus_128(tmp_path: Path) -> None:
    """As the exporter that takes 128 off every zero point writes it; and a zero point under which no weight saturates."""
    plain = unet()
    save_amd(tmp_path / "quant", plain, calibrated(plain))
    _, wanted = quantized_unet.load(tmp_path / "quant")
    path = tmp_path / "quant" / quantization.AMD_QUANT_PARAMS
    params = json.loads(path.read_text())
    params[f"{BLOCK}.ff.net.2"]["weight_zp"] = [-128.0] * 32
    params[f"{BLOCK}.ff.net.0.proj"]["weight_zp"] = [-1.0] * 255 + [0.0]
    path.write_text(json.dumps(params))
    _, tensors = quantized_unet.load(tmp_path / "quant")
    assert all(torch.equal(tensors[name], wanted[name]) for name in wanted) and tensors.keys() == wanted.keys()


def test_amds_folder_is_the_default_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="run python -m export.quantize"):
        quantization.find("amd", tmp_path / "checkpoint")
    document.write(Quantization(model="tiny", source="calibrated"), tmp_path / "checkpoint" / quantization.FOLDER / quantization.NAME)
    (tmp_path / quantization.AMD_FOLDER).mkdir()
    (tmp_path / quantization.AMD_FOLDER / quantization.AMD_QUANT_PARAMS).write_text("{}")
    assert quantization.find("amd", tmp_path / "checkpoint") == tmp_path / quantization.AMD_FOLDER
    assert quantization.find("fp8", tmp_path / "checkpoint") == tmp_path / "checkpoint" / quantization.FOLDER
    with pytest.raises(MissingFileError, match="params.safetensors absent"):
        quantization.files(tmp_path / quantization.AMD_FOLDER)


def test_a_range_that_is_none_and_a_layer_without_one_are_named() -> None:
    for amax in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="the range of conv is"):
            Quantization(model="tiny", source="calibrated", layers={"conv": amax})
    with pytest.raises(ConfigError, match="the code of zero of conv is 128"):
        Quantization(model="tiny", source="calibrated", zeros={"conv": 128})
    found = Quantization(model="tiny", source="calibrated", attentions={"attn": AttentionRange(query_amax=1.0, key_amax=1.0, value_amax=1.0)})
    with pytest.raises(ConfigError, match="no range for layer 'conv'"):
        found.input_amax("conv")
    with pytest.raises(ConfigError, match="no ranges for attention 'other'"):
        found.attention("other")


def test_precision_by_layer_and_fp8_by_target() -> None:
    config = amd(layer_precisions={"up_blocks.*": "fp16", "up_blocks.1.resnets.0.conv1": "fp8"})
    assert precision.of_layer(config, "down_blocks.0.resnets.0.conv1") == "int8"
    assert precision.of_layer(config, "down_blocks.0.resnets.0.time_emb_proj") == "fp16"
    assert precision.of_layer(config, "up_blocks.0.resnets.0.conv1") == "fp16"
    assert precision.of_layer(config, "up_blocks.1.resnets.0.conv1") == "fp8"
    assert precision.of_attention(config, f"{BLOCK}.attn1") == "fp8"
    assert precision.of_attention(amd(unet_precision=None, unet_quant_dtype="i8"), f"{BLOCK}.attn1") == "fp16"
    assert [precision.fp8_format(config, name) for name in ("gfx942", "gfx950", "sm_89", "host")] == ["fnuz", "fn", "fn", "fnuz"]
    assert precision.fp8_format(amd(unet_precision=None, unet_quant_dtype="fp8_ocp"), "host") == "fn"
    with pytest.raises(ConfigError, match="layer_precisions 'no_such\\*' fits no module"):
        quantized(amd(layer_precisions={"no_such*": "fp16"}), Quantization(model="tiny", source="calibrated"), {})


def test_the_export_key_follows_what_reaches_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_files, "module_files", lambda *_: [])
    monkeypatch.setattr(export_key, "module_files", lambda *_: [])
    monkeypatch.setattr(export_key, "folder_of", lambda *_: tmp_path)

    def key(config: ModelConfig, module: str, architecture: str) -> str:
        return export_key.export_key(config, module, "none", lambda path: path.name, architecture)

    plain, config = tiny_sdxl.config(attention="explicit"), amd()
    assert key(plain, "scheduled_unet", "gfx942") == key(plain, "scheduled_unet", "gfx950")
    assert key(config, "scheduled_unet", "gfx942") != key(config, "scheduled_unet", "gfx950")
    assert key(config, "scheduled_unet", "gfx942") != key(plain, "scheduled_unet", "gfx942")
    changed = dataclasses.replace(config, layer_precisions={"*": "fp16"})
    assert key(changed, "scheduled_unet", "gfx942") != key(config, "scheduled_unet", "gfx942")


def test_a_graph_without_weights_has_the_parameters_of_one_with_them() -> None:
    plain = unet()
    filled = quantized(amd(), *fit(plain))
    bare = unet()
    quantized_unet.quantize(bare, amd(), "fnuz", None, {})
    shapes = [{name: (value.shape, value.dtype) for name, value in one.state_dict().items()} for one in (filled, bare)]
    assert shapes[0] == shapes[1]
    assert sum(isinstance(child, QuantizedLayer) and child.dtype == INT8 for child in bare.modules()) > 20


def test_scaled_convolutions_keep_the_picture() -> None:
    from diffusers import AutoencoderKL

    from export.sdxl_modules import scale_convolutions

    torch.manual_seed(0)
    vae = AutoencoderKL(**tiny_sdxl.VAE).eval().requires_grad_(False)
    last = vae.decoder.up_blocks[3].resnets
    for layer in (vae.decoder.up_blocks[2].upsamplers[0].conv, *(block.conv2 for block in last)):
        layer.weight *= 1000  # a stream as wide as SDXL's, beside which the norms' epsilon is nothing
    latents = torch.randn((1, 4, 6, 8), generator=torch.Generator().manual_seed(1))
    streams: list[float] = []
    vae.decoder.conv_norm_out.register_forward_pre_hook(lambda module, inputs: streams.append(float(inputs[0].abs().max())))
    before = vae.decode(latents).sample
    scale_convolutions(vae)
    after = vae.decode(latents).sample
    assert streams[0] / streams[1] == pytest.approx(128, rel=0.01), "the stream that overflows float16 is 128 times smaller"
    assert float((after - before).norm() / before.norm()) < 1e-3


def test_the_command_line_wants_one_of_two(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="to calibrate, or --import-amd"):
        quantize.parse(["--checkpoint", str(tmp_path)])
    with pytest.raises(ConfigError, match="--early-weight is 0.0"):
        quantize.parse(["--checkpoint", str(tmp_path), "--import-amd", "x", "--early-weight", "0"])
