"""The latent that all samples share, bit for bit the same on every machine.

MLPerf's tensor is torch.randn((1, 4, 128, 128), generator=torch.Generator().manual_seed(0)), but torch's own bits depend on
its build and on the CPU (three different results from one wheel and three settings of ATEN_CPU_CAPABILITY, at most 5e-7
apart). MLPerf's file is what torch's AVX2 path gives when its compiler fuses no multiply-add; this is that path in numpy:
Mersenne twister, 24-bit uniforms, Box-Muller in groups of 16 with the logarithm, sine and cosine of the Cephes library
(S. Moshier) in float32, as in avx_mathfun.h (G. Garberoglio, after J. Pommier's sse_mathfun).
"""

from __future__ import annotations

import numpy as np

from ireeperf.errors import ConfigError

F32 = np.float32
GROUP = 16  # normals made at a time: 8 radii, 8 angles
_LOG = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
        2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)
_LN2_LOW, _LN2_HIGH = -2.12194440e-4, 0.693359375
_SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
_QUARTER_PI = (0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8)  # in three parts, for an exact reduction


def standard_normal(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """float32 normals of `shape`, as torch.randn with a CPU generator of this seed."""
    count = int(np.prod(shape))
    if count < GROUP:
        raise ConfigError(f"latents of shape {shape} have {count} values; at least {GROUP} are needed")
    tail = count % GROUP
    # torch draws the last 16 again when they are not a whole group
    draws = np.random.RandomState(seed).randint(0, 2**32, count + (GROUP if tail else 0), np.uint32)
    uniform = (draws & 0xFFFFFF).astype(F32) * F32(2**-24)
    values = np.empty(count, F32)
    whole = count - tail
    values[:whole] = _box_muller(uniform[:whole])
    if tail:
        values[-GROUP:] = _box_muller(uniform[count:])
    return values.reshape(shape)


def _box_muller(uniform: np.ndarray) -> np.ndarray:
    """Normals from uniforms in [0, 1), both in groups of 8 + 8."""
    groups = uniform.reshape(-1, GROUP)
    radius = np.sqrt(F32(-2) * _log(F32(1) - groups[:, :8]))
    sine, cosine = _sine_cosine(F32(2 * np.pi) * groups[:, 8:])
    return np.concatenate([radius * cosine, radius * sine], axis=1).ravel()


def _polynomial(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    """Horner's scheme in float32, each product and sum rounded."""
    y = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        y = y * x + F32(coefficient)
    return y


def _log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm of positive float32."""
    mantissa, exponent = np.frexp(x)  # mantissa in [0.5, 1)
    mantissa, exponent = mantissa.astype(F32), exponent.astype(F32)
    small = mantissa < F32(np.sqrt(0.5))
    exponent = exponent - small.astype(F32)
    x = mantissa - F32(1) + np.where(small, mantissa, F32(0))
    square = x * x
    y = _polynomial(_LOG, x) * x * square + exponent * F32(_LN2_LOW) - square * F32(0.5)
    return x + y + exponent * F32(_LN2_HIGH)


def _sine_cosine(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of float32 angles >= 0."""
    octant = ((x * F32(4 / np.pi)).astype(np.int32) + 1) & ~1
    for part in _QUARTER_PI:
        x = x - octant.astype(F32) * F32(part)
    square = x * x
    cosine = _polynomial(_COS, square) * square * square - square * F32(0.5) + F32(1)
    sine = _polynomial(_SIN, square) * square * x + x
    swapped = (octant & 2) != 0
    sine_sign = np.where(octant & 4, F32(-1), F32(1))
    cosine_sign = np.where((octant - 2) & 4, F32(1), F32(-1))
    return np.where(swapped, cosine, sine) * sine_sign, np.where(swapped, sine, cosine) * cosine_sign
