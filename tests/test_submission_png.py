"""harness.submission_png: the same pixels as PIL, for every filter, and a reason for every file that is none."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import submission_png
from ireeperf.errors import ConfigError


def picture(height: int, width: int) -> np.ndarray:
    """A gradient with noise in its lower half."""
    image = np.indices((height, width)).sum(0)[..., None] * np.array([3, 5, 7])
    image[height // 2:] = np.random.default_rng(0).integers(0, 256, (height - height // 2, width, 3))
    return (image % 256).astype(np.uint8)


def encode(image: np.ndarray, kinds: list[int]) -> bytes:
    """A PNG whose row y has filter kinds[y % len]: written from the specification, one byte at a time."""
    height, width, _ = image.shape
    rows, previous = b"", [0] * 3 * width
    for y in range(height):
        row, kind = image[y].reshape(-1).tolist(), kinds[y % len(kinds)]
        rows += bytes([kind])
        for i, value in enumerate(row):
            a, b, c = (row[i - 3] if i >= 3 else 0), previous[i], (previous[i - 3] if i >= 3 else 0)
            guess = a + b - c
            nearest = min(((abs(guess - a), 0, a), (abs(guess - b), 1, b), (abs(guess - c), 2, c)))[2]
            rows += bytes([(value - (0, a, b, (a + b) // 2, nearest)[kind]) % 256])
        previous = row
    return file((width, height, 8, 2, 0, 0, 0), zlib.compress(rows))


def file(header: tuple[int, ...], data: bytes) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    # two IDAT chunks: a writer may cut where it likes
    half = len(data) // 2
    return submission_png.SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", *header)) + chunk(b"IDAT", data[:half]) + chunk(
        b"IDAT", data[half:]) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kinds", [[0], [1], [2], [3], [4], [4, 3, 2, 1, 0]])
@pytest.mark.parametrize("shape", [(7, 5), (1, 9), (9, 1)])
def test_every_filter(tmp_path: Path, kinds: list[int], shape: tuple[int, int]) -> None:
    image = picture(*shape)
    (tmp_path / "a.png").write_bytes(encode(image, kinds))
    assert np.array_equal(submission_png.read(tmp_path / "a.png"), image)
    assert np.array_equal(np.array(Image.open(tmp_path / "a.png")), image)  # the encoder above writes PNGs


def test_what_pil_writes_at_full_size(tmp_path: Path) -> None:
    image = picture(1024, 1024)
    Image.fromarray(image).save(tmp_path / "a.png")
    assert np.array_equal(submission_png.read(tmp_path / "a.png"), image)
    assert submission_png.digest(image) == hashlib.sha256(image.tobytes()).hexdigest()


@pytest.mark.parametrize(("content", "words"), [
    (b"GIF89a", "starts with"), (submission_png.SIGNATURE, "no header"),
    (encode(picture(4, 4), [0])[:60], "cut off"), (encode(picture(4, 4), [0])[:-12], "cut off"),
    (encode(picture(4, 4), [0]).replace(b"IDAT", b"IDAX", 1), "damaged"),
    (file((4, 4, 8, 6, 0, 0, 0), zlib.compress(bytes(68))), "colour type 6"), (file((4, 4, 8, 2, 0, 0, 1), b""), "interlace 1"),
    (file((4, 4, 8, 2, 0, 0, 0), zlib.compress(bytes(51))), "holds 51 bytes"), (file((4, 4, 8, 2, 0, 0, 0), b"no zlib"), "decompress"),
    (file((4, 4, 8, 2, 0, 0, 0), zlib.compress(bytes(10**6))), "holds 53 bytes"),  # never more is decompressed than announced
    (file((1, 1, 8, 2, 0, 0, 0), zlib.compress(b"\5abc")), "filter 5"), (file((10**6, 10**6, 8, 2, 0, 0, 0), b""), "1000000x1000000"),
])
def test_what_is_no_png_of_ours(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        submission_png.read(tmp_path / "a.png")


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        submission_png.read(tmp_path / "a.png")
