"""Read the pixels of an 8-bit RGB PNG with zlib and numpy alone: the harness has no PIL.

PNG Specification 1.2: 5.2-5.3 signature and chunks, 6 filters, 9.2 their order, 11.2.2 IHDR.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ireeperf.errors import ConfigError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
RGB = 2  # colour type
SIDE_LIMIT = 4096  # pixels: a header that asks for more is not one of ours, and must not ask for the memory


def read(path: Path) -> np.ndarray:
    """[H, W, 3] uint8. ConfigError says what is wrong with the file: cut off, damaged, or of another kind."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    try:
        return _decode(content)
    except ValueError as error:
        raise ConfigError(f"{path} is not an 8-bit RGB PNG: {error}") from error


def digest(pixels: np.ndarray) -> str:
    """sha256 of the RGB bytes, row by row: what a device answers for the picture."""
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def _decode(content: bytes) -> np.ndarray:
    if not content.startswith(SIGNATURE):
        raise ValueError(f"it starts with {content[:8]!r}")
    header, data, ended = b"", [], False
    for name, body in _chunks(content):
        if name == b"IHDR":
            header = body
        elif name == b"IDAT":
            data.append(body)
        ended = ended or name == b"IEND"
    if len(header) != 13 or not ended:
        raise ValueError("it is cut off" if header else "it has no header")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    if (depth, colour, compression, filtering, interlace) != (8, RGB, 0, 0, 0):
        raise ValueError(f"bit depth {depth}, colour type {colour}, interlace {interlace}; 8, {RGB} (RGB), 0 are read")
    if not (0 < width <= SIDE_LIMIT and 0 < height <= SIDE_LIMIT):
        raise ValueError(f"it is {width}x{height}; up to {SIDE_LIMIT}x{SIDE_LIMIT} is read")
    wanted = height * (1 + 3 * width)
    try:
        rows = zlib.decompressobj().decompress(b"".join(data), wanted + 1)  # never more than the header announced
    except zlib.error as error:
        raise ValueError(f"its pixels do not decompress: {error}") from error
    if len(rows) != wanted:
        raise ValueError(f"it holds {len(rows)} bytes of pixels, {wanted} are {width}x{height} RGB")
    table = np.frombuffer(rows, np.uint8).reshape(height, 1 + 3 * width)
    if table[:, 0].max() > 4:
        raise ValueError(f"filter {table[:, 0].max()} is none of 0 to 4")
    return _unfilter(table[:, 0], table[:, 1:].reshape(height, width, 3))


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, body) of every chunk, checked against its CRC."""
    offset = len(SIGNATURE)
    while offset < len(content):
        if len(content) < offset + 12:
            raise ValueError("it is cut off")
        length, name = struct.unpack_from(">I4s", content, offset)
        body = content[offset + 8:offset + 8 + length]
        check = content[offset + 8 + length:offset + 12 + length]
        if len(body) != length or len(check) != 4:
            raise ValueError("it is cut off")
        if zlib.crc32(name + body) != int.from_bytes(check, "big"):
            raise ValueError(f"chunk {name!r} is damaged: its CRC does not fit")
        yield name, body
        offset += 12 + length


def _unfilter(filters: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Undo filters [H] of rows [H, W, 3]: a pixel needs its left, upper and upper left neighbour.

    All pixels of one anti-diagonal are independent of each other, so numpy takes H + W steps instead of H x W.
    """
    if not filters.any():
        return rows.copy()
    height, width, _ = rows.shape
    out = np.zeros((height + 1, width + 1, 3), np.int16)  # row 0 and column 0: what lies outside is 0
    for diagonal in range(height + width - 1):
        y = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        x = diagonal - y
        left, up, corner = out[y + 1, x], out[y, x + 1], out[y, x]
        guess = left + up - corner
        from_left, from_up, from_corner = abs(guess - left), abs(guess - up), abs(guess - corner)
        nearest = np.where((from_left <= from_up) & (from_left <= from_corner), left,
                           np.where(from_up <= from_corner, up, corner))
        kind = filters[y][:, None]
        predicted = np.choose(kind, (np.zeros_like(left), left, up, (left + up) // 2, nearest))
        out[y + 1, x + 1] = (rows[y, x] + predicted) & 255
    return np.ascontiguousarray(out[1:, 1:].astype(np.uint8))
