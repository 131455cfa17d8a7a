"""Light changes to the images of a batch, the same over a window: a shift, brightness, colour."""

from __future__ import annotations

import torch
from torch import Tensor

from safevla_ros.policy.vla.processor import NO_TOKEN


def augment(images: Tensor, shift_px: int, tint: float, generator: torch.Generator) -> Tensor:
    """Images (B, T, height, width, 3) uint8 as they might look in other light and with the camera
    a little aside: float32, 0 to 255. The generator is one of the CPU, wherever the images are.

    Each stream is shifted by up to `shift_px` pixels both ways (a border stays as it was), and its
    colours are multiplied by gains of up to 1 +- `tint`, and half of that by channel.
    """
    count = images.shape[0]
    changed = images.float()
    shifts = torch.randint(-shift_px, shift_px + 1, (count, 2), generator=generator).tolist()
    for stream, (down, right) in enumerate(shifts):
        to_rows, from_rows = _overlap(down)
        to_columns, from_columns = _overlap(right)
        changed[stream, :, to_rows, to_columns] = images[stream, :, from_rows, from_columns].float()
    gains = 1.0 + tint * (2.0 * torch.rand(count, 1, generator=generator) - 1.0)
    gains = gains * (1.0 + tint / 2.0 * (2.0 * torch.rand(count, 3, generator=generator) - 1.0))
    gains = gains.to(images.device).view(count, 1, 1, 1, 3)
    return changed.mul_(gains).clamp_(0.0, 255.0)


def _overlap(shift: int) -> tuple[slice, slice]:
    """Where what is shifted goes to along an axis, and where it comes from."""
    if shift >= 0:
        return slice(shift, None), slice(None, -shift or None)
    return slice(None, shift), slice(-shift, None)


def forget(previous: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Tokens (B, T) of which a share is replaced by NO_TOKEN: a policy that always knew its last
    action would learn to repeat it, and not to look."""
    gone = torch.rand(previous.shape, generator=generator) < share
    return previous.masked_fill(gone.to(previous.device), NO_TOKEN)
