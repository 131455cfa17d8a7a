"""`safevla bench inference`: ONNX Runtime against torch, and what the memory's cache saves."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from safevla_ros.assurance.statistics import percentiles
from safevla_ros.cli.failure import ExitCode, Failure
from safevla_ros.policy.interface import PolicyError

WARM_UP = 20
"""Runs before the first that counts."""
MEMORY_STEPS = 32
"""Length of the episode that a policy without a cache would read again at each step."""


def inference(
    policy: Annotated[
        str, typer.Option(help="A policy folder; empty: an untrained compact VLA.")
    ] = "",
    steps: Annotated[int, typer.Option(min=10, help="Steps to time.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the inputs.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time one step of a policy at batch size 1: torch as it is, and ONNX Runtime, both with the
    same cached memory, taking turns. On a CPU in processor time, which other programs do not stretch;
    with a GPU by the wall clock.

    Example: safevla bench inference --policy policies/mine --json
    """
    try:
        report = measure(policy, steps, seed)
    except PolicyError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    if as_json:
        print(json.dumps(report, indent=2))
        return
    for name in ("torch_eager", "onnx_runtime"):
        print(f"{name:<14} p50 {report[name]['p50']:.3f} ms, p99 {report[name]['p99']:.3f} ms")
    print(f"ONNX Runtime is {report['speed_ratio']:.2f} times as fast as torch, at p50")
    memory = report["memory"]
    print(
        f"a cached step takes {memory['cached_step']['p50']:.3f} ms; reading {MEMORY_STEPS} steps "
        f"again {memory['without_cache']['p50']:.3f} ms"
    )


def measure(policy: str, steps: int, seed: int) -> dict[str, Any]:
    """The report: milliseconds by runtime, their ratio, and how far the logits differ. Raises
    PolicyError, ImportError."""
    import torch

    from safevla_ros.policy.load import policy_folder
    from safevla_ros.policy.onnx_runtime import open_session
    from safevla_ros.policy.vla.checkpoint import load_checkpoint
    from safevla_ros.policy.vla.configuration import VlaConfiguration
    from safevla_ros.policy.vla.export import to_onnx
    from safevla_ros.policy.vla.modeling import CompactVla

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if policy:
        model = load_checkpoint(policy_folder(policy))
    else:
        model = CompactVla(VlaConfiguration(vocabulary=("apple", "find", "the"))).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.onnx"
        path.write_bytes(to_onnx(model))
        session = open_session(path)
    model = model.to(device)
    on_cpu = device == "cpu" and session.get_providers()[0] == "CPUExecutionProvider"
    clock = time.thread_time if on_cpu else time.perf_counter
    observations = _observations(model.configuration, seed)
    count = len(observations)

    def torch_step(i: int, state: Any) -> tuple[NDArray, Any]:
        with torch.inference_mode():
            inputs = {
                key: torch.from_numpy(value)[None].to(device)
                for key, value in observations[i % count].items()
            }
            logits, state = model.act(inputs, state)
            return logits[:, 0].cpu().numpy(), state

    def onnx_step(i: int, state: Any) -> tuple[NDArray, Any]:
        logits, state = session.run(["logits", "next_state"], observations[i % count] | state)
        return logits[:, 0], {"state": state}

    episode = {
        key: torch.from_numpy(
            np.stack([observations[i % count][key][0] for i in range(MEMORY_STEPS)])
        )[None].to(device)
        for key in observations[0]
    }

    def without_cache(i: int, state: Any) -> tuple[NDArray, Any]:
        with torch.inference_mode():
            logits, _ = model.act(episode, model.initial_state(1))
            return logits[:, -1].cpu().numpy(), state

    nothing = {"state": np.zeros((1, model.configuration.memory_width), np.float32)}
    torch_ms, onnx_ms, difference = _take_turns(
        torch_step, onnx_step, model.initial_state(1), nothing, steps, clock
    )
    memory_ms, cached_ms, _ = _take_turns(
        without_cache, torch_step, None, model.initial_state(1), max(steps // 10, 5), clock
    )
    report = {"torch_eager": percentiles(torch_ms), "onnx_runtime": percentiles(onnx_ms)}
    return {
        "parameters": sum(value.numel() for value in model.parameters()),
        "torch_device": device,
        "onnx_provider": session.get_providers()[0],
        "clock": "processor" if on_cpu else "wall",
        "unit": "ms",
        **report,
        "speed_ratio": round(float(np.median(torch_ms) / np.median(onnx_ms)), 3),
        "largest_logit_difference": difference,
        "memory": {
            "steps": MEMORY_STEPS,
            "without_cache": percentiles(memory_ms),
            "cached_step": percentiles(cached_ms),
            "speed_ratio": round(float(np.median(memory_ms) / np.median(cached_ms)), 3),
        },
    }


def _take_turns(
    one: Callable[[int, Any], tuple[NDArray, Any]],
    other: Callable[[int, Any], tuple[NDArray, Any]],
    one_state: Any,
    other_state: Any,
    steps: int,
    clock: Callable[[], float],
) -> tuple[list[float], list[float], float]:
    """Milliseconds of each by the clock, and the largest difference of what they give. They take turns, so that
    whatever else the machine does meets both."""
    times: tuple[list[float], list[float]] = ([], [])
    difference = 0.0
    for i in range(WARM_UP + steps):
        begun = clock()
        left, one_state = one(i, one_state)
        between = clock()
        right, other_state = other(i, other_state)
        ended = clock()
        difference = max(difference, float(np.abs(left - right).max()))
        if i >= WARM_UP:
            times[0].append((between - begun) * 1e3)
            times[1].append((ended - between) * 1e3)
    return *times, difference


def _observations(configuration: Any, seed: int, count: int = 16) -> list[dict[str, NDArray]]:
    """Random inputs of batch size 1."""
    from safevla_ros.policy.vla.processor import input_shapes

    rng = np.random.default_rng(seed)
    high = {
        "previous_token": len(configuration.actions),
        "instruction": len(configuration.vocabulary),
    }

    def draw(key: str, kind: type[np.generic], shape: tuple[int, ...]) -> NDArray:
        if kind is np.float32:
            return rng.normal(size=(1, *shape)).astype(np.float32)
        return rng.integers(0, high.get(key, 256), (1, *shape)).astype(kind)

    shapes = input_shapes(configuration.features)
    return [
        {key: draw(key, kind, shape) for key, (kind, shape) in shapes.items()} for _ in range(count)
    ]
