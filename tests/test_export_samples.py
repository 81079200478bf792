"""Sample sets: MLPerf's latent to the bit, both tokenizers, captions as they are read, and refusals."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from compile.cache import ROOT
from export import model_config, samples, torch_setup
from export.latents import standard_normal
from export.samples import read_captions
from ireeperf import samples as sample_sets
from ireeperf.errors import ConfigError, MissingFileError
from tests import tiny_sdxl

torch_setup.prepare()
pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in tiny_sdxl.LIBRARY_WARNINGS]
NANO = ROOT / "models/sdxl-nano"
# mlcommons/inference v5.1, text_to_image/tools/latents.pt: sha256 of the tensor's raw bytes
MLPERF_LATENT = "ea2c5d770d8921c79b43fade2dcecab9c95baae0500f5a2bc860ceb45faeccb1"


def test_the_latent_of_sdxl_is_mlperfs_to_the_bit() -> None:
    latent = standard_normal((1, 4, 128, 128), 0)
    assert latent.dtype == np.float32 and hashlib.sha256(latent.tobytes()).hexdigest() == MLPERF_LATENT
    assert latent.ravel()[:3].tolist() == pytest.approx([-1.12583983, -1.15236020, -0.25057858], abs=1e-8)


@pytest.mark.parametrize(("shape", "seed"), [((1, 4, 16, 16), 0), ((1, 4, 3, 5), 7), ((1, 4, 129, 129), 1)])
def test_latents_are_torchs_up_to_its_own_rounding(shape: tuple[int, ...], seed: int) -> None:
    torch = pytest.importorskip("torch")
    wanted = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).numpy()
    assert np.abs(standard_normal(shape, seed) - wanted).max() < 2e-6


def test_too_small_a_latent_is_refused() -> None:
    with pytest.raises(ConfigError, match="have 4 values; at least 16"):
        standard_normal((1, 4, 1, 1), 0)


def tsv(folder: Path, text: str) -> Path:
    path = folder / "captions.tsv"
    path.write_text(text)
    return path


COCO = ("id\timage_id\tcaption\theight\twidth\tfile_name\tcoco_url\n"
        '70\t227049\t  A city at night.\t640\t480\ta.jpg\thttp://x/a\n277\t288229\t"A ""big"" clock,\nhanging "\t640\t425\tb.jpg\thttp://x/b\n')


def test_coco_captions_lose_newlines_and_outer_blanks(tmp_path: Path) -> None:
    captions, references, origin = read_captions(tsv(tmp_path, COCO), "caption", None)
    assert captions == ["A city at night.", 'A "big" clock,hanging']
    assert references == ["227049", "288229"] and origin == "coco-2014"


def test_nano_captions_keep_their_row_and_id(tmp_path: Path) -> None:
    path = tsv(tmp_path, "id\tcaption\tkeywords\tsplit\ticon\n5\tred apple\tfruit\ttrain\ta\n9\tpear\t\theldout\tb\n")
    assert read_captions(path, "caption", None) == (["red apple", "pear"], ["5", "9"], "")
    assert read_captions(path, "caption", 1)[0] == ["red apple"]


@pytest.mark.parametrize(("text", "column", "count", "message"), [
    ("id\tcaption\n", "caption", None, "has no column 'caption'; it has no rows"),
    ("id\ttext\n1\ta\n", "caption", None, "has no column 'caption'; it has id, text"),
    ("id\tcaption\n1\ta\n2\t \n", "caption", None, "row 2 has an empty caption"),
    ("id\tcaption\n1\ta\n", "caption", 2, "--count is 2; .* has 1 rows"),
])
def test_bad_captions_are_refused(tmp_path: Path, text: str, column: str, count: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_captions(tsv(tmp_path, text), column, count)


def test_absent_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"captions.tsv does not exist"):
        read_captions(tmp_path / "captions.tsv", "caption", None)
    config = model_config.read(ROOT / "export/configs/sdxl_nano_bs2.json")
    with pytest.raises(MissingFileError, match=r"tokenizer does not exist; --tokenizers wants"):
        samples.make(config, tmp_path, ["a"], [], "x")


@pytest.mark.parametrize("length", [64, 77])
def test_ids_are_what_the_pipeline_would_feed(length: int) -> None:
    from transformers import CLIPTokenizer

    name = "sdxl_nano_bs2" if length == 64 else "sdxl_nano_77_bs2"
    config = model_config.read(ROOT / f"export/configs/{name}.json")
    captions = ["red apple", "word " * 100]
    made = samples.make(config, NANO, captions, ["0", "1"], "test")
    assert made.prompt_ids_1.shape == (2, length) and made.prompt_ids_1.dtype == np.int64
    for index, folder in ((1, "tokenizer"), (2, "tokenizer_2")):
        tokenizer = CLIPTokenizer.from_pretrained(NANO / folder)
        positive, negative = getattr(made, f"prompt_ids_{index}"), getattr(made, f"negative_ids_{index}")
        words = tokenizer("red apple")["input_ids"]
        assert positive[0, :len(words)].tolist() == words and set(positive[0, len(words):]) == {tokenizer.pad_token_id}
        assert positive[1, 0] == tokenizer.bos_token_id and positive[1, -1] == tokenizer.eos_token_id, "truncated, its end kept"
        assert (negative[0] == negative[1]).all()
        assert tokenizer.decode(negative[0], skip_special_tokens=True).replace(" ,", ",").startswith(config.negative_prompt[:40])
    assert made.latents.shape == (1, 4, 16, 16)


def test_the_command_writes_a_set_that_reads_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new/samples.npz"
    monkeypatch.setattr("sys.argv", ["samples", "--model-json", str(ROOT / "export/configs/sdxl_nano_bs2.json"), "--tokenizers", str(NANO),
                                     "--captions", str(tsv(tmp_path, COCO)), "--count", "2", "--output", str(output)])
    assert samples.main() == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    read = sample_sets.read(output)
    assert (read.digest, read.name, len(read)) == (last["digest"], "coco-2014-head2", 2)
    assert read.task_digest == last["task_digest"] and read.references == ("227049", "288229")
