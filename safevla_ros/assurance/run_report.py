"""The report of one run, made from its bag alone: summary.json, video.mp4 and top_view.png.

A robot's bag is as good as a simulated one: nothing but the bag is read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def write_run_report(
    bag: Path, folder: Path, *, progress: Callable[[str], None] | None = None
) -> dict[str, object]:
    """Write summary.json, video.mp4 and top_view.png of `bag` into `folder`; return the summary.

    `bag` is a bag's folder, an .mcap file, or a folder of bags, of which the newest is taken.
    `progress` hears one short sentence as each part begins. What the bag does not allow (no
    images, no positions, no episode) is left out and named in the summary's `notes`. Raises
    BagError when there is no bag to read.
    """
    raise NotImplementedError
