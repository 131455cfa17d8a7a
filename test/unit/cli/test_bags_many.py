"""Folders of bags worked on by several processes: of this machine, or of a Ray cluster."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from bag_maker import WALL_NS, BagMaker, all_types
from live_bag import STEPS, Live
from written_episode import write

from safevla_ros.bags.catalogue import entry
from safevla_ros.bags.dataset import EpisodeDataset
from safevla_ros.bags.many import each_bag
from safevla_ros.safety.specification import load_specification

Call = Callable[..., tuple[int, str, str]]
CONTRACT = {
    "name": "theirs",
    "rate_hz": 2,
    "clock": "/odom",
    "images": {
        "navigation": {"topic": "/camera/navigation", "limit_s": 1.0, "height": 12, "width": 16}
    },
    "action": {"base.x": {"topic": "/cmd_vel", "field": "linear.x", "limit_s": 0.6}},
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a Ray cluster of two workers."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    from ray.cluster_utils import Cluster

    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False}
    )
    yield nodes.address
    nodes.shutdown()


@pytest.fixture(params=["processes", "ray"])
def where(request: pytest.FixtureRequest) -> list[str]:
    """Options that say who does the work."""
    if request.param == "processes":
        return ["--workers", "2"]
    return ["--ray-address", request.getfixturevalue("cluster")]


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """Among the bags, a file that is none."""
    folder = tmp_path / "bags" / "bad"
    folder.mkdir(parents=True)
    (folder / "bad_0.mcap").write_bytes(b"rubbish")
    return folder


def test_bags_are_imported_and_what_is_there_is_not_imported_again(
    call: Call, tmp_path: Path, bad: Path, where: list[str]
) -> None:
    for number in range(3):
        # Recordings of different days often have one name.
        bag = BagMaker(all_types(), tmp_path / "bags" / f"day{number}" / "run")
        for tick in range(11):
            stamp_ns = WALL_NS + round((10.0 + tick / 10) * 1e9)
            bag.put(10.0 + tick / 10, "/odom", bag.new("nav_msgs/msg/Odometry"), stamp_ns=stamp_ns)
            bag.put(10.0 + tick / 10, "/cmd_vel", bag.new("geometry_msgs/msg/Twist"))
        bag.image(10.0, "navigation", (number, 0, 0), wall=True)
        bag.finish()
    (tmp_path / "contract.yaml").write_text(yaml.safe_dump(CONTRACT))
    command = ("import", "bags", "ours", "--contract", "contract.yaml", *where)
    code, out, errors = call(*command)
    assert code == 1
    assert "bad" in errors
    assert "ours/day1-run: 2 steps" in out
    assert sorted(folder.name for folder in (tmp_path / "ours").iterdir()) == [
        "day0-run",
        "day1-run",
        "day2-run",
    ]
    pictures = [entry(folder).messages for folder in (tmp_path / "ours").iterdir()]
    assert all(pictures)

    code, out, errors = call(*command)
    assert code == 1
    assert out.count("is there already") == 3


def test_scores_are_those_of_one_process_and_are_not_computed_again(
    call: Call, tmp_path: Path, bad: Path, where: list[str]
) -> None:
    for name in ("a", "b"):
        bag = BagMaker(all_types(), tmp_path / "bags" / name, robot="sim")
        Live(bag, load_specification("household"))
        bag.finish()
    _, alone, _ = call("score", "bags", "--json", "--workers", "1")
    code, together, errors = call("score", "bags", "--json", "--results", "r.jsonl", *where)
    assert code == 1
    assert "bad" in errors
    assert json.loads(together) == json.loads(alone)
    assert [each["compared_steps"] for each in json.loads(together)["bags"]] == [STEPS, STEPS]
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    assert {json.loads(line)["bag"] for line in lines} == {"bags/a", "bags/b"}
    _, again, _ = call("score", "bags", "--json", "--results", "r.jsonl", *where)
    assert json.loads(again) == json.loads(alone)
    assert (tmp_path / "r.jsonl").read_text().splitlines() == lines
    # What another specification gave is no answer.
    _, other, _ = call("score", "bags/a", "--json", "--results", "r.jsonl", "--spec", "paper")
    assert [each["specification"] for each in json.loads(other)["bags"]] == ["paper"]


def test_bags_become_the_dataset_that_one_process_makes(
    call: Call, tmp_path: Path, bad: Path, where: list[str]
) -> None:
    pytest.importorskip("pyarrow")
    for number in range(3):
        write(tmp_path / "bags", f"e-{number}", steps=2 + number)
    made = []
    for folder, options in (("alone", ["--workers", "1"]), ("together", where)):
        code, out, errors = call("export", "bags", folder, *options)
        assert code == 1
        assert "bad_0.mcap: not an MCAP file" in errors
        assert f"{folder}: 9 steps of 3 episodes" in out
        files = sorted(f for f in (tmp_path / folder).rglob("*") if f.is_file())
        made.append({str(f.relative_to(tmp_path / folder)): f.read_bytes() for f in files})
    assert made[0] == made[1]
    code, _, errors = call("export", "bags", "alone")
    assert code == 2
    assert "alone: expected a new folder" in errors
    code, out, _ = call("import", "together", "back", *where)
    assert code == 0
    assert "back: 3 episodes written" in out
    again = EpisodeDataset.open(tmp_path / "back")
    assert [each.episode_id for each in again.episodes] == ["e-0", "e-1", "e-2"]
    assert len(again) == 9


def die(path: Path) -> int:
    if path.name == "deadly":
        os._exit(1)
    return len(path.name)


def test_a_worker_that_dies_costs_its_bag_alone(cluster: str) -> None:
    from ray import cloudpickle

    from safevla_ros.bags.ray_pool import RayPool

    # The workers of a cluster do not have this file.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    paths = [Path("one"), Path("deadly"), Path("three")]
    with RayPool(cluster) as pool:
        assert pool.workers == 2
        done = list(each_bag(die, paths, pool=pool))
    assert [each.result for each in done] == [3, None, 5]
    assert [each.path for each in done] == paths
    assert "deadly: the process that worked on it died" in done[1].error


def test_training_data_is_indexed_on_a_cluster(cluster: str, tmp_path: Path) -> None:
    from safevla_ros.bags.ray_pool import RayPool

    bag = BagMaker(all_types(), tmp_path / "e", episode_id="e-1")
    bag.episode(0.9, "RUNNING")
    image = bag.new("sensor_msgs/msg/Image", height=1, width=2, step=6, encoding="rgb8")
    image.data = np.arange(6, dtype=np.uint8)
    bag.put(1.0, "/observation", bag.new("Observation", camera_names=["eye"], images=[image]))
    bag.put(1.0, "/action_chunk", bag.new("ActionChunk", episode_id="e-1", tokens=np.array([3])))
    bag.gated(1.1, 0, "PASS", "accepted")
    bag.costs(1.5, 0, drop={"cost": 0.0})
    bag.finish()
    with RayPool(cluster) as pool:
        data = EpisodeDataset.open(tmp_path, pool=pool)
    assert data[0]["observation.images.eye"].ravel().tolist() == [0, 1, 2, 3, 4, 5]


def test_a_cluster_that_is_not_there_is_named(call: Call, tmp_path: Path, bad: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    code, _, errors = call("score", "bags", "--ray-address", "nowhere.invalid")
    assert code == 1
    assert "no cluster at nowhere.invalid" in errors


def test_where_ray_is_missing_it_says_how_to_get_it(
    call: Call, bad: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "safevla_ros.bags.ray_pool", raising=False)
    code, _, errors = call("score", "bags", "--ray")
    assert code == 4
    assert "ray is not installed: in a checkout of safevla_ros: pip install '.[ray]'" in errors


def test_a_cluster_that_is_not_there_is_one_sentence(call: Call, tmp_path: Path, bad: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, errors = call("score", "bags", "--ray-address", address)
    assert code == 1
    assert f"no cluster at {address}" in errors
    assert "Traceback" not in errors
