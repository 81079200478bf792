"""The compiled decoder on IREE's CPU driver, under continuous batching, against transformers' own generate."""

from __future__ import annotations

import dataclasses
import random
import re
import subprocess

import pytest
import torch

from compile import compiler, target
from compile.flags import flags
from export import llm
from runtime.batch import Call
from runtime.continuous_batching import ContinuousBatching, Shapes
from runtime.decoder_engine import DecoderBuild, DecoderEngine
from runtime.pace import Request, Throughput
from tests.test_decoder import CONFIG, MIXTURE, saved

pytestmark = pytest.mark.filterwarnings("ignore")  # torch and turbine warn of themselves while they trace

FLAGS = flags(target.find("cpu"), None, decodes=True)
# few entry points: each is traced and compiled anew
SMALL = {"num_hidden_layers": 2, "prefill_lengths": (16,), "prefill_batch_sizes": (1,), "decode_batch_sizes": (1, 4)}


def shapes_of(config) -> Shapes:
    return Shapes(**{field.name: getattr(config, field.name) for field in dataclasses.fields(Shapes)})


@pytest.fixture(scope="module", params=[CONFIG, MIXTURE], ids=["llama", "mixtral"])
def built(request, tmp_path_factory):
    """config, reference model, engine, folder: exported with real weights, compiled for this CPU."""
    folder = tmp_path_factory.mktemp("decoder")
    config = dataclasses.replace(request.param, **SMALL)
    checkpoint, model = saved(config, folder / "checkpoint")
    llm.export_decoder(config, str(checkpoint), folder)
    executable = folder / "decoder.vmfb"
    subprocess.run([compiler.compiler_path(), folder / "decoder.mlir", *FLAGS, "-o", executable], check=True)
    engine = DecoderEngine("local-sync://0", DecoderBuild(
        model=config, entry_points=llm.entry_points(config), executable=executable, archive=folder / "decoder.irpa", scope="model"))
    engine.open()
    yield config, model, engine, folder
    engine.close()


@pytest.mark.parametrize("seed", [0, 1])
def test_answers_equal_those_of_transformers_whatever_the_order_of_arrival(built, seed: int) -> None:
    config, model, engine, _ = built
    draw = random.Random(seed)
    requests = [Request(id=index, index=index, prompt=tuple(draw.randrange(3, 64) for _ in range(draw.randint(1, 20))), limit=draw.randint(2, 10), arrived_ns=0)
                for index in range(12)]
    batching = ContinuousBatching(shapes_of(config), Throughput())
    coming = draw.sample(requests, len(requests))
    while coming or batching.owed:
        if coming:
            batching.add(coming.pop())
        step = batching.next_step(0)
        assert step is not None
        call = Call(ticket=0, entry_point=step.entry_point, size=step.size, tokens=step.tokens, positions=step.positions, page_table=step.page_table)
        batching.finish(engine.run(call)[0], 0.0, 0)
    assert batching.pool.taken == 0
    for one in requests:
        with torch.no_grad():
            theirs = model.generate(torch.tensor([one.prompt]), max_new_tokens=one.limit, do_sample=False)[0, len(one.prompt):].tolist()
        assert one.answer == theirs, one.prompt


def test_the_cache_is_a_global_that_no_step_copies_whole(built, tmp_path) -> None:
    """In the stream phase nothing as large as the cache is allocated, cloned or copied: its rows are scattered and gathered in place."""
    config, _, _, folder = built
    out = tmp_path / "stream.mlir"
    subprocess.run([compiler.compiler_path(), folder / "decoder.mlir", *FLAGS, "--compile-to=stream", "-o", out], check=True)
    text = out.read_text()
    assert "util.global private mutable" in text
    cache_bytes = config.pages * config.page_values * 4
    functions = [part for part in re.split(r"(?=util\.(?:func|initializer)\b)", text) if part.startswith("util.func") and "stream.cmd.execute" in part]
    assert {name for name in llm.entry_points(config) if any(f"@{name}" in part.split("{")[0] for part in functions)} == set(llm.entry_points(config))
    whole = ("stream.cmd.copy", "stream.cmd.fill", "stream.resource.alloca", "stream.async.clone")
    sized = [line.strip() for part in functions for line in part.splitlines()
             if f"%c{cache_bytes}" in line and any(word in line for word in whole)]
    assert not sized, sized[:3]
