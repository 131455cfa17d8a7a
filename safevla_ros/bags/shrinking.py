"""Pictures made smaller by area: each new pixel is the mean of what it covers.

As `cv2.resize` does with INTER_AREA, to one level of 255, but in a third of the time where the ratio
of the sizes is no whole number, as it is for nearly every camera and policy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Weights = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


def shrunk(
    rows: NDArray[np.uint8], width: int, size: tuple[int, int], *, turn: bool
) -> NDArray[np.uint8]:
    """A picture of `width` pixels as (3, *size), channels first; with `turn` their order is reversed.

    `rows` is (H, 3 * width) or wider, pixel by pixel, C-contiguous. `size` is height and width, which
    must be at least 1 and no larger than the picture's.
    """
    small = np.empty((3, *size), np.uint8)
    _shrink(rows, _weights(len(rows), size[0]), _weights(width, size[1]), turn, small)
    return small


@cache
def _weights(old: int, new: int) -> Weights:
    """Of each new pixel along one axis: the first old one that it covers, how many, and how much of
    it each is (new, most)."""
    scale = old / new
    begin = np.arange(new) * scale
    end = begin + scale
    first = np.floor(begin + 1e-9).astype(np.int64)
    count = np.minimum(np.ceil(end - 1e-9).astype(np.int64), old) - first
    pixels = first[:, None] + np.arange(count.max())
    covered = np.minimum(pixels + 1, end[:, None]) - np.maximum(pixels, begin[:, None])
    return first, count, (np.maximum(covered, 0.0) / scale).astype(np.float32)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        compiled = njit(cache=True, nogil=True, fastmath=True)(function)
    except RuntimeError:  # no folder that can be written: compiled at every start
        compiled = njit(nogil=True, fastmath=True)(function)
    return compiled


@_compiled
def _shrink(rows, down, across, turn, small):  # type: ignore[no-untyped-def]
    first_row, row_count, row_weight = down
    first_column, column_count, column_weight = across
    length = 3 * (first_column[-1] + column_count[-1])
    line = np.empty(length, np.float32)
    for y in range(small.shape[1]):
        line[:] = 0.0
        for k in range(row_count[y]):
            row = rows[first_row[y] + k]
            weight = row_weight[y, k]
            for at in range(length):
                line[at] += weight * row[at]
        for x in range(small.shape[2]):
            one = two = three = np.float32(0.5)
            at = 3 * first_column[x]
            for k in range(column_count[x]):
                weight = column_weight[x, k]
                one += weight * line[at]
                two += weight * line[at + 1]
                three += weight * line[at + 2]
                at += 3
            if turn:
                one, three = three, one
            small[0, y, x] = np.uint8(one)
            small[1, y, x] = np.uint8(two)
            small[2, y, x] = np.uint8(three)
