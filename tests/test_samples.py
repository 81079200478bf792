"""Sample sets: what LoadGen's indices mean, in one file, with a digest that follows the content only."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ireeperf import prompts, samples
from ireeperf.errors import ConfigError
from ireeperf.samples import ARRAYS, SampleSet
from tests import tiny_decoder


def sample_set(count: int = 3, length: int = 4, **changes) -> SampleSet:
    ids = {name: np.arange(count * length, dtype=np.int64).reshape(count, length) + k for k, name in enumerate(ARRAYS[:4])}
    latents = np.linspace(-1, 1, 16, dtype=np.float32).reshape(1, 4, 2, 2)
    values = {"name": "tiny", "model": "tiny", "max_seq_len": length, "captions": tuple(f"caption {i}" for i in range(count)),
              "references": tuple(f"picture-{i}" for i in range(count)), "latents": latents, **ids}
    return SampleSet(**values | changes)


def test_round_trip(tmp_path):
    written = sample_set()
    written.write(tmp_path / "sub" / "tiny.npz")
    back = samples.read(tmp_path / "sub" / "tiny.npz")
    assert back.digest == written.digest and back.task_digest == written.task_digest
    assert (back.name, back.captions, back.references, len(back)) == (written.name, written.captions, written.references, 3)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(back, name), getattr(written, name))
        assert getattr(back, name).dtype == getattr(written, name).dtype
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["tiny.npz"], "no partial file stays behind"


@pytest.mark.parametrize("name", [*ARRAYS, "captions", "references", "model"])
def test_digest_sees_every_part(name):
    plain = sample_set()
    value = getattr(plain, name)
    if isinstance(value, np.ndarray):
        changed = value.copy()
        changed.flat[-1] += 1
    else:
        changed = (*value[:-1], "other") if isinstance(value, tuple) else "other"
    assert sample_set(**{name: changed}).digest != plain.digest
    same_task = name in ARRAYS[:4]
    assert (sample_set(**{name: changed}).task_digest == plain.task_digest) == same_task, "a task is captions, references and latents"


@pytest.mark.parametrize(("read", "made", "other", "words"), [
    (samples.read, sample_set(), tiny_decoder.prompts(3), "is a prompt set of a decoder"),
    (prompts.read, tiny_decoder.prompts(3), sample_set(), "is a sample set of images")])
def test_no_byte_of_a_broken_file_is_a_traceback_and_the_other_kind_is_named(read, made, other, words, tmp_path):
    other.write(tmp_path / "other.npz")
    with pytest.raises(ConfigError, match=words):
        read(tmp_path / "other.npz")
    made.write(tmp_path / "s.npz")
    whole, refused = (tmp_path / "s.npz").read_bytes(), set()
    for at in range(0, len(whole), 11):
        (tmp_path / "s.npz").write_bytes(whole[:at] + bytes([whole[at] ^ 0xff]) + whole[at + 1:])
        try:
            read(tmp_path / "s.npz")
        except ConfigError as error:
            refused.add(type(error.__cause__).__name__)
    assert {"BadZipFile", "error"} <= refused  # error: zlib's


def test_digest_ignores_name_and_file():
    assert sample_set(name="other").digest == sample_set().digest


def test_shapes_are_checked():
    with pytest.raises(ConfigError, match=r"negative_ids_2 has shape \(3, 5\), expected \(3, 4\)"):
        sample_set(negative_ids_2=np.zeros((3, 5), np.int64))
    with pytest.raises(ConfigError, match="2 references for 3 captions"):
        sample_set(references=("a", "b"))


def test_head():
    whole = sample_set()
    head = whole.head(2)
    assert len(head) == 2 and head.captions == whole.captions[:2] and head.references == whole.references[:2]
    np.testing.assert_array_equal(head.prompt_ids_2, whole.prompt_ids_2[:2])
    np.testing.assert_array_equal(head.latents, whole.latents)
    for count in (0, 4):
        with pytest.raises(ConfigError, match=f"{count} samples asked of tiny, which has 3"):
            whole.head(count)


def test_absent_and_corrupt_files(tmp_path):
    with pytest.raises(ConfigError, match=r"does not exist; make it with python -m export.samples"):
        samples.read(tmp_path / "absent.npz")
    path = tmp_path / "tiny.npz"
    sample_set().write(path)
    content = path.read_bytes()
    for broken in (b"", b"not an archive", content[: len(content) // 2]):
        path.write_bytes(broken)
        with pytest.raises(ConfigError, match="is not a sample set"):
            samples.read(path)


@pytest.mark.parametrize("change, message", [
    ({"schema_version": 2}, "schema_version 2, this release reads 1"), ({"captions": None}, "key 'captions' is missing"),
    ({"colour": "red"}, "unknown key 'colour'"), ({"captions": "text"}, "captions is 'text'"), ({"max_seq_len": 5}, "has shape"),
])
def test_header_is_checked(tmp_path, change, message):
    path = tmp_path / "tiny.npz"
    sample_set().write(path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header = json.loads(arrays["header"].tobytes()) | change
    arrays["header"] = np.frombuffer(json.dumps({k: v for k, v in header.items() if v is not None}).encode(), np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(ConfigError, match=message):
        samples.read(path)


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "tiny.npz"
    np.savez(path, header=np.array([{"schema_version": 1}], dtype=object))
    with pytest.raises(ConfigError, match="is not a sample set"):
        samples.read(path)


def test_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigError, match="cannot write"):
        sample_set().write(tmp_path / "file" / "tiny.npz")
