"""Matrix instructions and buffer accesses of gfx942 in C: what an emulated kernel spends most of its time in, 20 to 50 times faster than numpy.

Semantics after AMD's "Instinct MI300 ISA" guide (chapter 7 for the layouts of matrices, 9.1 for buffers). Compiled once with ziglang's C
compiler into the emulator's environment. tests/test_emulator_native.py holds it to numpy. Standard library and numpy only.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from compile import reference_types

_SOURCE = r"""
#include <stdint.h>
#include <string.h>
enum { F32, F16, BF16, F8, I8 };
typedef struct { int32_t size, per_lane, kind, a, b, c, d, a_acc, b_acc, d_acc, scalar, length; const float *table_a, *table_b; } Multiply;
typedef struct { int32_t resource, address, data, accumulators, soffset, immediate, bytes, store, sign, half, length; } Move;

static void advance(uint32_t *s, int length) {
  uint64_t pc = (s[256] | (uint64_t)s[257] << 32) + length;
  s[256] = (uint32_t)pc; s[257] = (uint32_t)(pc >> 32);
}

/* registers [n][64]; matrix [size][groups * per_lane] */
static void unpack(const Multiply *m, const uint32_t *registers, const float *table, float out[32][64]) {
  static const int bytes[] = {4, 2, 2, 1, 1};
  int width = bytes[m->kind];
  for (int lane = 0; lane < 64; lane++)
    for (int j = 0; j < m->per_lane; j++) {
      uint32_t word = registers[j * width / 4 * 64 + lane], bits = word >> 8 * (j * width % 4);
      float value;
      if (m->kind == F32) memcpy(&value, &word, 4);
      else if (m->kind == F16) value = table[bits & 0xffff];
      else if (m->kind == BF16) { bits <<= 16; memcpy(&value, &bits, 4); }
      else if (m->kind == F8) value = table[bits & 0xff];
      else value = (int8_t)bits;
      out[lane % m->size][lane / m->size * m->per_lane + j] = value;
    }
}

void multiply(const Multiply *m, uint32_t *s, uint32_t *v, uint32_t *acc) {
  float a[32][64], b[32][64];
  uint32_t out[16][64];
  int depth = 64 / m->size * m->per_lane, count = m->size * m->size / 64;
  uint32_t *bank = m->d_acc ? acc : v;
  unpack(m, (m->a_acc ? acc : v) + 64 * m->a, m->table_a, a);
  unpack(m, (m->b_acc ? acc : v) + 64 * m->b, m->table_b, b);
  for (int i = 0; i < count; i++)
    for (int lane = 0; lane < 64; lane++) {
      int row = m->size == 32 ? 8 * (i / 4) + 4 * (lane / 32) + i % 4 : 4 * (lane / 16) + i;
      const float *x = a[row], *y = b[lane % m->size];
      uint32_t start = m->scalar >= 0 ? s[m->scalar] : bank[64 * (m->c + i) + lane];
      if (m->kind == I8) {
        int32_t sum = (int32_t)start;
        for (int k = 0; k < depth; k++) sum += (int32_t)x[k] * (int32_t)y[k];
        out[i][lane] = (uint32_t)sum;
      } else {
        float sum = 0, given;
        for (int k = 0; k < depth; k++) sum += x[k] * y[k];
        memcpy(&given, &start, 4);
        given += sum;
        memcpy(&out[i][lane], &given, 4);
      }
    }
  memcpy(bank + 64 * m->d, out, count * 256);
  advance(s, m->length);
}

/* 0: the buffer is one that this does not take */
int move(const Move *m, uint32_t *s, uint32_t *v, uint32_t *acc) {
  uint64_t base = (s[m->resource] | (uint64_t)s[m->resource + 1] << 32) & 0xffffffffffff, active = s[126] | (uint64_t)s[127] << 32;
  uint32_t range = s[m->resource + 2], more = m->soffset < 128 ? s[m->soffset] : (uint32_t)(m->soffset - 128), *bank = m->accumulators ? acc : v;
  if (range >= 1u << 31) return 0;
  for (int lane = 0; lane < 64; lane++) {
    if (!(active >> lane & 1)) continue;
    uint64_t offset = (uint32_t)(m->immediate + (m->address >= 0 ? v[64 * m->address + lane] : 0));
    for (int done = 0; done < m->bytes; done += 4) {
      int part = m->bytes - done < 4 ? m->bytes - done : 4, inside = offset + done + part <= range;
      uint8_t *place = (uint8_t *)(base + offset + done + more);
      uint32_t *word = bank + 64 * (m->data + done / 4) + lane, value = 0;
      if (m->store) {
        value = m->half == 2 ? *word >> 16 : *word;
        if (inside) memcpy(place, &value, part);
        continue;
      }
      if (inside) memcpy(&value, place, part);
      if (m->sign) value = part == 2 ? (uint32_t)(int16_t)value : (uint32_t)(int8_t)value;
      if (m->half == 1) value = (*word & 0xffff0000) | (value & 0xffff);
      if (m->half == 2) value = (*word & 0xffff) | value << 16;
      *word = value;
    }
  }
  advance(s, m->length);
  return 1;
}
"""
_KINDS = {"F32": 0, "F16": 1, "BF16": 2, "FP8": 3, "BF8": 3, "I8": 4}
_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "FP8": 1, "BF8": 1, "I8": 1}
_MATRIX = re.compile(r"V_MFMA_(?:F32|I32)_(16X16|32X32)X(\d+)_(F32|F16|BF16|I8|(?:FP8|BF8)_(?:FP8|BF8))(?:_1K|_E64)?$")
_BUFFER = re.compile(r"BUFFER_(LOAD|STORE)_(DWORDX4|DWORDX3|DWORDX2|DWORD|USHORT|SSHORT|SHORT|UBYTE|SBYTE|BYTE)(_D16(?:_HI)?)?$")
_WIDTH = {"DWORDX4": 16, "DWORDX3": 12, "DWORDX2": 8, "DWORD": 4, "USHORT": 2, "SSHORT": 2, "SHORT": 2, "UBYTE": 1, "SBYTE": 1, "BYTE": 1}
_VECTOR = 256


class Multiply(ctypes.Structure):
    """One matrix instruction, as the C code has it."""

    _fields_ = [*((name, ctypes.c_int32) for name in ("size", "per_lane", "kind", "a", "b", "c", "d", "a_acc", "b_acc", "d_acc", "scalar", "length")),
                ("table_a", ctypes.c_void_p), ("table_b", ctypes.c_void_p)]


class Move(ctypes.Structure):
    """One buffer access, as the C code has it."""

    _fields_ = [(name, ctypes.c_int32) for name in ("resource", "address", "data", "accumulators", "soffset", "immediate", "bytes", "store", "sign",
                                                    "half", "length")]


def library(folder: Path, python: str = sys.executable) -> ctypes.CDLL:
    """The compiled code, kept in `folder` by the digest of its source; SystemExit when `python` has no ziglang."""
    path = folder / f"ireeperf-native-{hashlib.sha256(_SOURCE.encode()).hexdigest()[:16]}.so"
    if not path.is_file():
        source, partial = path.with_suffix(f".{os.getpid()}.c"), path.with_suffix(f".{os.getpid()}.so")
        source.write_text(_SOURCE)
        done = subprocess.run([python, "-m", "ziglang", "cc", "-O2", "-fno-sanitize=all", "-fno-strict-aliasing", "-shared", "-fPIC", str(source), "-o",
                               str(partial)], capture_output=True, text=True, check=False)
        source.unlink()
        if done.returncode:
            raise SystemExit(f"error: the C compiler of {python} failed: {done.stderr.strip()[-300:]}; run ./scripts/setup_emulator")
        partial.replace(path)
    found = ctypes.CDLL(str(path))
    for name in ("multiply", "move"):
        getattr(found, name).argtypes = [ctypes.c_void_p] * 4
    return found


def instruction(code: ctypes.CDLL, name: str, decoded: Any) -> Callable[[tuple[int, int, int], Any], bool] | None:
    """What does a decoded instruction in C, from pointers to scalars, vectors and accumulators, and tells whether it did; None: not done
    here."""
    if (matrix := _MATRIX.match(name)) is not None:
        arguments: Any = _multiply(matrix, decoded)
        function = code.multiply
    elif (buffer := _BUFFER.match(name)) is not None and not int(getattr(decoded, "lds", 0) or 0) and not int(decoded.idxen):
        arguments, function = _move(buffer, decoded), code.move
    else:
        return None
    if arguments is None:
        return None
    place, always = ctypes.addressof(arguments), function is code.multiply

    def run(pointers: tuple[int, int, int], _: Any, kept: Any = arguments) -> bool:
        return bool(function(place, *pointers)) or always
    return run


def _multiply(found: re.Match[str], decoded: Any) -> Multiply | None:
    size, depth, kinds = int(found[1].split("X")[0]), int(found[2]), found[3].split("_")
    per_lane = depth * size // 64
    a, b, c, d = (_number(getattr(decoded, operand)) for operand in ("src0", "src1", "src2", "vdst"))
    flags, modified = int(getattr(decoded, "acc", 0) or 0), any(int(getattr(decoded, one, 0) or 0) for one in ("cbsz", "abid", "blgp"))
    if modified or min(a, b) < _VECTOR or (per_lane * _BYTES[kinds[0]]) % 4 or (c < _VECTOR and c != 128):
        return None
    tables = [_table(kind) for kind in (kinds[0], kinds[-1])]
    return Multiply(size=size, per_lane=per_lane, kind=_KINDS[kinds[0]], a=a - _VECTOR, b=b - _VECTOR, c=max(0, c - _VECTOR),
                    d=d - _VECTOR if d >= _VECTOR else d, a_acc=flags & 1, b_acc=flags >> 1 & 1, d_acc=int(bool(getattr(decoded, "acc_cd", 0))),
                    scalar=c if c < _VECTOR else -1, length=decoded.size(), table_a=tables[0], table_b=tables[1])


def _move(found: re.Match[str], decoded: Any) -> Move | None:
    soffset, data, address = _number(decoded.soffset), _number(decoded.vdata), _number(decoded.vaddr)
    if soffset > 192:
        return None
    return Move(resource=_number(decoded.srsrc), address=(address - _VECTOR if address >= _VECTOR else address) if int(decoded.offen) else -1,
                data=data - _VECTOR if data >= _VECTOR else data, accumulators=int(bool(getattr(decoded, "acc", 0))), soffset=soffset,
                immediate=int(decoded.offset), bytes=_WIDTH[found[2]], store=int(found[1] == "STORE"), sign=int(found[2] in ("SSHORT", "SBYTE")),
                half={None: 0, "_D16": 1, "_D16_HI": 2}[found[3]], length=decoded.size())


@functools.cache
def _values(kind: str) -> np.ndarray:
    if kind == "F16":
        return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    return reference_types.table("f8E4M3FNUZ" if kind == "FP8" else "f8E5M2FNUZ").astype(np.float32)


def _table(kind: str) -> int | None:
    return _values(kind).ctypes.data if kind in ("F16", "FP8", "BF8") else None


def _number(register: Any) -> int:
    return int(getattr(register, "offset", register))
