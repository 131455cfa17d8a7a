"""Distances from link hulls to known boxes: our numpy against Coal, as the look-ahead needs them.

    python benchmarks/hull_distances.py --rounds 20          # needs pin, which brings Coal

The simulated robot drives and moves its arm for 24 samples among 64 boxes (those of `safevla bench
gate`, `objects_64`). Each round takes the distance of every hull to every box at every sample, ours in
one call, Coal's pair by pair as its Python bindings allow (capsules, boxes and the boxes' transforms are
made beforehand, the hulls' transforms are part of it). The two take turns; times are processor time.
Then the same for the pairs that are left when what is out of reach is sorted out by spheres.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import coal
import numpy as np
from numpy.typing import NDArray

from safevla_ros.cli.bench_gate import around
from safevla_ros.robot.geometry import Boxes, box_distances, capsule_distances, planar
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.profile import load_profile, urdf_path
from safevla_ros.robot.state import Joint
from safevla_ros.safety.state import Scene

Array = NDArray[np.float64]
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]

SAMPLES = 24
WITHIN_M = 0.5
"""How far links get in one command, and the look-ahead's spare."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    starts, ends, radii = moving_hulls()
    objects = around(np.random.default_rng(options.seed))["objects"]().objects
    scene = Scene.of({entry.id: entry for entry in objects})
    boxes = scene.boxes(np.arange(len(objects)))
    theirs = Coal(starts, ends, radii, boxes)
    report = {"rounds": options.rounds, "seed": options.seed, "samples": SAMPLES, "unit": "ms"}
    for name, pairs in (
        ("all", every_pair(radii, boxes)),
        ("in_reach", pairs_in_reach(starts[0], ends[0], radii, boxes)),
    ):
        links, rows = pairs
        chosen = boxes[rows]
        ways: dict[str, Callable[[], Array]] = {
            "numpy": lambda links=links, chosen=chosen: (
                box_distances(starts[:, links], ends[:, links], chosen) - radii[links]
            ),
            "coal": lambda pairs=pairs: theirs.distances(pairs),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        found: dict[str, Array] = {}
        for _ in range(options.rounds):
            for way, distances in ways.items():
                begun = time.thread_time()
                found[way] = distances()
                times[way].append(1e3 * (time.thread_time() - begun))
        p50 = {way: float(np.median(values)) for way, values in times.items()}
        report[name] = {
            "pairs": len(links),
            **{f"{way}_p50": round(value, 3) for way, value in p50.items()},
            "coal_over_numpy": round(p50["coal"] / p50["numpy"], 1),
            "differ_by_at_most_m": float(np.abs(found["numpy"] - found["coal"]).max()),
        }
    print(json.dumps(report, indent=2))


def moving_hulls() -> tuple[Array, Array, Array]:
    """Axis ends (K, L, 3), (K, L, 3) and radii (L,) along a drive through the boxes, arm and lift moving."""
    profile = load_profile("sim")
    kinematics = Kinematics(urdf_path(profile))
    samples = []
    for share in np.linspace(0.0, 1.0, SAMPLES):
        joints = {"lift": 0.6 + 0.1 * share, "arm": 0.1 * share, "wrist_yaw": 1.0, "gripper": 0.08}
        readings = {name: Joint(at, 0.0) for name, at in joints.items()}
        links = kinematics.capsules(planar(1.2 + 0.6 * share, 0.0, 0.2 * share), readings)
        samples.append([(link.start, link.end) for link in links])
    axes = np.array(samples)
    return axes[:, :, 0], axes[:, :, 1], np.array([link.radius for link in links])


def every_pair(radii: Array, boxes: Boxes) -> Pairs:
    links, rows = np.indices((len(radii), len(boxes.centres)))
    return links.ravel(), rows.ravel()


def pairs_in_reach(starts: Array, ends: Array, radii: Array, boxes: Boxes) -> Pairs:
    apart = capsule_distances(starts[:, None], ends[:, None], np.zeros(1), boxes.centres)
    spheres_m = np.sqrt((boxes.halves**2).sum(axis=1))
    links, rows = np.nonzero(apart - radii[:, None] - spheres_m <= WITHIN_M)
    return links, rows


class Coal:
    """The same distances by Coal."""

    def __init__(self, starts: Array, ends: Array, radii: Array, boxes: Boxes) -> None:
        self._starts, self._ends = starts, ends
        lengths = np.linalg.norm(ends[0] - starts[0], axis=1)
        self._capsules = [coal.Capsule(*size) for size in zip(radii, lengths, strict=True)]
        self._boxes = [coal.Box(*(2.0 * half)) for half in boxes.halves]
        self._places = [
            coal.Transform3s(*place) for place in zip(boxes.turns, boxes.centres, strict=True)
        ]

    def distances(self, pairs: Pairs) -> Array:
        request, result = coal.DistanceRequest(), coal.DistanceResult()
        found = np.empty((len(self._starts), len(pairs[0])))
        links = np.unique(pairs[0])
        both = list(zip(*(part.tolist() for part in pairs), strict=True))
        for sample, (starts, ends) in enumerate(
            zip(self._starts[:, links], self._ends[:, links], strict=True)
        ):
            places = zip(_upright(ends - starts), 0.5 * (starts + ends), strict=True)
            hulls = dict(
                zip(links.tolist(), (coal.Transform3s(*place) for place in places), strict=True)
            )
            for pair, (link, row) in enumerate(both):
                result.clear()
                found[sample, pair] = coal.distance(
                    self._capsules[link],
                    hulls[link],
                    self._boxes[row],
                    self._places[row],
                    request,
                    result,
                )
        return found


def _upright(alongs: Array) -> Array:
    """Rotations (L, 3, 3) whose z axes are these (L, 3)."""
    z = alongs / np.maximum(np.linalg.norm(alongs, axis=1), 1e-12)[:, None]
    z[~z.any(axis=1)] = (0.0, 0.0, 1.0)
    x = np.cross(np.eye(3)[np.abs(z).argmin(axis=1)], z)
    x /= np.linalg.norm(x, axis=1)[:, None]
    return np.stack([x, np.cross(z, x), z], axis=-1)


if __name__ == "__main__":
    main()
