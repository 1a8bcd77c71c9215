"""A quantiser of its own in numpy and ml_dtypes, so that the job checks the library with operands the library did not make."""

from dataclasses import dataclass

import ml_dtypes
import numpy as np

E4M3 = ml_dtypes.float8_e4m3fn
FMAX = np.float32(448)
WHOLE = None  # as a block: the whole axis


@dataclass
class Quantized:
    """values [.., R, C], scales [.., R / block, C / block] or None, and the block of the last two axes."""

    values: np.ndarray
    scales: np.ndarray | None = None
    block: tuple = (WHOLE, WHOLE)

    def scale_of_elements(self) -> np.ndarray:
        """Scales spread over the elements, float64; 1 without scales."""
        if self.scales is None:
            return np.ones(self.values.shape)
        spread = self.scales.astype(np.float64)
        for axis, block in zip((-2, -1), self.block):
            extent = self.values.shape[axis]
            spread = np.repeat(spread, extent if block is WHOLE else block, axis=axis)
            spread = np.take(spread, range(extent), axis=axis)
        return spread

    def folds(self) -> bool:
        """Powers of two belong to the value; other scales are applied to partial sums."""
        return self.scales is not None and self.scales.dtype == ml_dtypes.float8_e8m0fnu

    def nbytes(self) -> int:
        return self.values.nbytes + (0 if self.scales is None else self.scales.nbytes)


def block_amax(x: np.ndarray, block: tuple) -> np.ndarray:
    """Largest |x| of every block of the last two axes."""
    amax = np.abs(x)
    for axis, size in zip((-2, -1), block):
        extent = amax.shape[axis]
        amax = np.maximum.reduceat(amax, np.arange(0, extent, extent if size is WHOLE else size), axis=axis)
    return amax


def quantize(x: np.ndarray, block: tuple, power_of_two: bool = False) -> Quantized:
    """absmax: s = max(amax / 448, 2^-126). power_of_two: the smallest 2^e with amax <= 448 * 2^e, as e8m0."""
    amax = block_amax(x, block).astype(np.float32)
    if power_of_two:
        mantissa, exponent = np.frexp(amax)  # 448 = 0.875 * 2^9
        exponent = exponent - 9 + (mantissa > 0.875)
        scales = np.exp2(np.where(amax == 0, 0, exponent)).astype(np.float32).astype(ml_dtypes.float8_e8m0fnu)
    else:
        scales = np.where(amax == 0, np.float32(1), np.maximum(amax / FMAX, np.float32(2**-126)))
    scaled = Quantized(x, scales, block)
    quotient = (x / scaled.scale_of_elements().astype(np.float32)).astype(np.float32)
    return Quantized(np.clip(quotient, -FMAX, FMAX).astype(E4M3), scales, block)


def as_bf16(x: np.ndarray) -> Quantized:
    """Rounded to bf16, unscaled."""
    return Quantized(x.astype(ml_dtypes.bfloat16))
