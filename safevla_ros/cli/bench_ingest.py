"""`safevla bench ingest`: a camera's message to the policy's tensor, against plain numpy."""

from __future__ import annotations

import array
import json
import time
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from safevla_ros.assurance.statistics import percentiles
from safevla_ros.cli.failure import ExitCode, Failure

HEIGHT, WIDTH = 480, 640
"""A usual camera's frame [px]."""
WARM_UP = 10


def ingest(
    frames: Annotated[int, typer.Option(min=5, help="Frames to time.")] = 200,
    size: Annotated[int, typer.Option(help="Edge of the policy's image [px]; divides 480.")] = 80,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the pixels.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time how a bgr8 frame of 640x480 becomes the policy's tensor: read, turned to rgb, cropped,
    resized by area; beside it the same in plain numpy, taking turns, and the same from a JPEG. In processor time.

    Example: safevla bench ingest --json
    """
    if size < 8 or HEIGHT % size:
        raise Failure(ExitCode.BAD_INPUT, f"--size: expected a divisor of {HEIGHT}, got {size}")
    report = measure(frames, size, seed)
    if as_json:
        print(json.dumps(report, indent=2))
        return
    for name in ("numpy", "ingest", "ingest_jpeg"):
        print(f"{name:<12} p50 {report[name]['p50']:.3f} ms, p99 {report[name]['p99']:.3f} ms")
    print(f"ingest is {report['speed_ratio']:.2f} times as fast as plain numpy, at p50")


def measure(frames: int, size: int, seed: int) -> dict[str, Any]:
    """The report: milliseconds a frame by route, their ratio, and how far the pixels differ."""
    import cv2

    from safevla_ros.robot.pictures import policy_picture

    cv2.setNumThreads(1)
    rng = np.random.default_rng(seed)
    # Smooth shapes under noise: a JPEG of pure noise would be larger than any camera's.
    coarse = rng.integers(0, 256, (HEIGHT // 40, WIDTH // 40, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    picture = cv2.add(picture, rng.integers(0, 8, picture.shape, dtype=np.uint8))
    message = SimpleNamespace(height=HEIGHT, width=WIDTH, encoding="bgr8", step=3 * WIDTH)
    message.data = array.array("B", picture.tobytes())
    jpeg = SimpleNamespace(format="jpeg")
    jpeg.data = array.array("B", cv2.imencode(".jpg", picture)[1].tobytes())

    def ours() -> NDArray[np.uint8]:
        return policy_picture(message, size, size)[np.newaxis]

    def from_jpeg() -> NDArray[np.uint8]:
        return policy_picture(jpeg, size, size)[np.newaxis]

    def plain() -> NDArray[np.uint8]:
        block = HEIGHT // size
        pixels = np.frombuffer(message.data, np.uint8).reshape(HEIGHT, WIDTH, 3)[:, :, ::-1]
        left = (WIDTH - HEIGHT) // 2
        square = pixels[:, left : left + HEIGHT]
        means = square.reshape(size, block, size, block, 3).mean(axis=(1, 3))
        return np.round(means).astype(np.uint8)[np.newaxis]

    routes = {"numpy": plain, "ingest": ours, "ingest_jpeg": from_jpeg}
    times: dict[str, list[float]] = {name: [] for name in routes}
    for i in range(WARM_UP + frames):
        for name, route in routes.items():
            begun = time.thread_time()
            route()
            if i >= WARM_UP:
                times[name].append((time.thread_time() - begun) * 1e3)
    difference = np.abs(ours().astype(int) - plain().astype(int)).max()
    return {
        "frame": {"height": HEIGHT, "width": WIDTH, "encoding": "bgr8"},
        "policy_image": size,
        "clock": "processor",
        "unit": "ms",
        **{name: percentiles(values) for name, values in times.items()},
        "speed_ratio": round(float(np.median(times["numpy"]) / np.median(times["ingest"])), 3),
        "largest_pixel_difference": int(difference),
    }
