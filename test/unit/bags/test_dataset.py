"""Bags as training data: what a sample holds, which steps are left out, and in which order."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safevla_ros.bags import BagError
from safevla_ros.bags.cutting import cut
from safevla_ros.bags.dataset import EpisodeDataset, episode_returns
from safevla_ros.bags.reader import Bag
from safevla_ros.robot.action_codec import TOKENS
from safevla_ros.robot.messages import set_stamp

MakeBag = Callable[..., Any]
STEP_S = 0.5


def add_observation(bag: Any, time_s: float, colour: int, *, height: int = 8) -> None:
    image = bag.new(
        "sensor_msgs/msg/Image",
        height=height,
        width=8,
        step=24,
        encoding="rgb8",
        data=np.full(height * 24, colour, np.uint8),
    )
    message = bag.new("Observation", camera_names=["navigation"], images=[image])
    message.joint_states.name = ["lift", "gripper"]
    message.joint_states.position = np.array([0.5, 0.08])
    message.odometry.twist.twist.linear.x = 0.1
    message.object_in_hand = True
    bag.put(time_s, "/observation", message)


def add_episode(
    bag: Any, id: str = "e-1", *, begin_s: float = 10.0, steps: int = 4, skip: str = ""
) -> None:
    """Step n proposes n/10 m/s; step 1 is limited to half of it, step 2 comes from a person. The
    zone costs in the last step. `skip` leaves out a kind of message of step 1."""
    bag.episode(begin_s, "RUNNING", id=id)
    for step in range(steps):
        at_s = begin_s + STEP_S * step
        add_observation(bag, at_s - 0.05, 10 * step)
        if not (skip == "observation" and step == 1):
            add_observation(bag, at_s, 10 * step + 1)
        chunk = bag.new(
            "ActionChunk",
            episode_id=id,
            chunk_id=step,
            first_step=step,
            tokens=np.array([step + 3], np.uint16),
            log_probabilities=np.array([-0.25], np.float32) if step == 0 else np.empty(0),
        )
        bag.put(at_s, "/action_chunk", chunk)
        if not (skip == "decision" and step == 1):
            add_decision(bag, at_s, step, id)
        if not (skip == "costs" and step == 1):
            inside = float(step == steps - 1)
            zone = {"cost": inside, "margin": 0.2 - inside, "remaining": 1.0 - inside}
            drop = {"status": 1, "margin": math.nan, "remaining": math.nan}
            bag.costs(at_s + STEP_S, step, id=id, zone=zone, drop=drop)
    bag.episode(begin_s + STEP_S * steps, "ENDED", id=id, outcome="SUCCESS")


def add_decision(bag: Any, at_s: float, step: int, id: str) -> None:
    message = bag.new("GatedAction", episode_id=id, step=step)
    message.decision = int(step == 1)
    message.source = "joystick" if step == 2 else "policy"
    message.proposed.twist.linear.x = step / 10
    message.proposed.joint_names, message.proposed.joint_positions = ["gripper"], np.array([0.0])
    message.applied_twist.linear.x = step / 10 * (0.5 if step == 1 else 1.0)
    message.applied_joint_names, message.applied_joint_positions = ["gripper"], np.array([0.0])
    if step == 1:
        message.predicted_terms, message.predicted_costs = ["zone"], np.array([1.0])
    set_stamp(message.header.stamp, round((at_s + 0.02) * 1e9))
    bag.put(at_s + 0.02, "/gated_action", message)


def make_dataset(make_bag: MakeBag, **options: Any) -> EpisodeDataset:
    bag = make_bag("e-1", episode_id="e-1", kind="episode")
    add_episode(bag, **options)
    return EpisodeDataset.open(bag.finish(outcome="SUCCESS"))


def test_a_sample_is_what_the_policy_saw_did_and_paid(make_bag: MakeBag) -> None:
    data = make_dataset(make_bag)
    assert len(data) == 4
    assert data.action_names == ("base.x", "base.y", "base.yaw", "gripper")
    assert data.cost_names == ("drop", "zone")
    assert data.state_names == ("gripper", "lift", "base.x", "base.y", "base.yaw", "object_in_hand")
    assert data.instruction(0) == "find the mug"

    first, limited, by_hand, last = data
    assert (first["observation.images.navigation"] == 1).all()
    assert first["observation.images.navigation"].shape == (8, 8, 3)
    np.testing.assert_allclose(first["observation.state"], [0.08, 0.5, 0.1, 0.0, 0.0, 1.0])
    assert first["action.log_probability"] == -0.25
    assert math.isnan(limited["action.log_probability"])
    assert [s["action.token"] for s in (first, last)] == [3, 6]
    np.testing.assert_allclose(limited["action.proposed"], [0.1, 0.0, 0.0, 0.0], atol=1e-7)
    np.testing.assert_allclose(limited["action.applied"], [0.05, 0.0, 0.0, 0.0], atol=1e-7)
    assert [bool(s["imitate"]) for s in (first, limited, by_hand, last)] == [
        True,
        False,
        True,
        True,
    ]
    np.testing.assert_array_equal(limited["predicted_cost"], [0.0, 1.0])
    np.testing.assert_array_equal(last["cost"], [0.0, 1.0])
    np.testing.assert_allclose(last["margin"], [math.nan, -0.8])
    # Before the step there was still one to spend.
    np.testing.assert_array_equal(last["remaining"], [math.nan, 1.0])
    assert last["applicable"].tolist() == [False, True]
    assert [float(s["reward"]) for s in (first, last)] == [0.0, 10.0]
    assert [bool(s["done"]) for s in (first, last)] == [False, True]
    assert episode_returns(data)["zone"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("skip", "why"),
    [
        ("decision", "no command was judged"),
        ("costs", "no costs"),
        ("observation", "no observation"),
    ],
)
def test_a_step_with_something_missing_is_left_out_and_counted(
    make_bag: MakeBag, skip: str, why: str
) -> None:
    data = make_dataset(make_bag, skip=skip)
    assert [int(sample["step"]) for sample in data] == [0, 2, 3]
    assert f"1 steps left out: {why}" in data.notes


def test_an_episode_without_a_verdict_has_no_reward(make_bag: MakeBag) -> None:
    bag = make_bag("e-1", episode_id="e-1")
    add_episode(bag)
    data = EpisodeDataset.open(bag.finish())
    assert all(math.isnan(sample["reward"]) for sample in data)


def test_a_piece_is_rewarded_only_where_it_holds_the_end(make_bag: MakeBag, tmp_path: Path) -> None:
    bag = make_bag("e-1", episode_id="e-1", kind="episode")
    add_episode(bag)
    whole = bag.finish(outcome="SUCCESS")
    begin_ns = next(Bag(whole).messages()).log_time_ns
    cut(whole, tmp_path / "begin", begin_ns, begin_ns + round(2.5 * STEP_S * 1e9))
    cut(whole, tmp_path / "end", begin_ns + round(2.5 * STEP_S * 1e9), begin_ns + 10**10)
    begin, end = (EpisodeDataset.open(tmp_path / name) for name in ("begin", "end"))
    assert len(begin) == 2
    assert all(math.isnan(sample["reward"]) for sample in begin)
    assert end.episodes[0].outcome == "SUCCESS"
    assert end[len(end) - 1]["reward"] == 10.0


def test_a_bad_bag_is_passed_over_and_a_clip_is_no_second_copy(
    make_bag: MakeBag, tmp_path: Path
) -> None:
    for name, kind in (("bags/e-1", "episode"), ("bags/clips/c", "clip")):
        bag = make_bag(name, episode_id="e-1", kind=kind)
        add_episode(bag)
        bag.finish(outcome="FAILURE")
    (tmp_path / "bags" / "bad").mkdir()
    (tmp_path / "bags" / "bad" / "bad_0.mcap").write_bytes(b"nonsense")
    data = EpisodeDataset.open(tmp_path / "bags")
    assert len(data.episodes) == 1
    assert any("not an MCAP file" in note for note in data.notes)
    with pytest.raises(BagError, match="no step of an episode in any of the bags"):
        EpisodeDataset.open(tmp_path / "bags" / "bad")


def test_an_image_without_pixels_is_named(make_bag: MakeBag) -> None:
    bag = make_bag("e-1", episode_id="e-1")
    add_episode(bag, steps=1)
    add_observation(bag, 10.01, 1, height=0)
    data = EpisodeDataset.open(bag.finish())
    assert len(data) == 1
    assert data[0]["observation.images.navigation"].size > 0
    empty = make_bag("e-2", episode_id="e-2")
    add_observation(empty, 9.99, 1, height=0)
    add_episode(empty, "e-2", begin_s=10.5, steps=2, skip="observation")
    # The second step's chunk names an observation that is missing; only the first is kept.
    assert [int(s["step"]) for s in EpisodeDataset.open(empty.finish())] == [0]


@pytest.fixture
def sessions(make_bag: MakeBag, tmp_path: Path) -> Path:
    """Twelve episodes of six sessions."""
    for number in range(12):
        bag = make_bag(f"many/e-{number}", episode_id=f"e-{number}", session=f"s-{number // 2}")
        add_episode(bag, f"e-{number}", begin_s=10.0 + 100 * number)
        bag.finish(outcome="FAILURE")
    return tmp_path / "many"


def test_a_split_never_parts_a_session_and_outlives_new_bags(
    sessions: Path, make_bag: MakeBag
) -> None:
    def parts_by_session() -> dict[str, int]:
        parts = EpisodeDataset.open(sessions).split(0.5, 0.5, seed=1)
        return {e.session: n for n, part in enumerate(parts) for e in part.episodes}

    parts = EpisodeDataset.open(sessions).split(0.5, 0.5, seed=1)
    assert all(parts)
    assert sum(map(len, parts)) == 48
    first, second = ({e.session for e in part.episodes} for part in parts)
    assert not first & second
    assert all(part[0]["step"] == 0 for part in parts)
    before = parts_by_session()
    bag = make_bag("many/new", episode_id="new", session="s-new")
    add_episode(bag, "new")
    bag.finish()
    assert before.items() <= parts_by_session().items()
    with pytest.raises(ValueError, match="shares that add up to 1"):
        EpisodeDataset.open(sessions).split(0.5, 0.6)


def test_orders_are_permutations_that_the_seed_decides(sessions: Path) -> None:
    data = EpisodeDataset.open(sessions)
    for window in (None, 8):
        order = data.order(3, window=window)
        assert sorted(order.tolist()) == list(range(48))
        assert order.tolist() == data.order(3, window=window).tolist()
        assert order.tolist() != data.order(4, window=window).tolist()
    windowed = data.order(3, window=8)
    assert all(np.ptp(windowed[at : at + 8]) < 8 for at in range(0, 48, 8))


def test_random_access_gives_what_reading_in_order_gives(sessions: Path) -> None:
    data = EpisodeDataset.open(sessions)
    in_order = list(data)
    for index in data.order(0):
        for name, value in data[int(index)].items():
            np.testing.assert_array_equal(value, in_order[int(index)][name])


def test_torch_batches_are_the_same_with_and_without_workers(sessions: Path) -> None:
    torch = pytest.importorskip("torch")
    from safevla_ros.bags.torch_loader import make_loader

    data = EpisodeDataset.open(sessions)
    alone, helped = (
        list(make_loader(data, 5, seed=1, window=8, workers=workers)) for workers in (0, 2)
    )
    assert [len(batch["step"]) for batch in alone] == [5] * 9 + [3]
    for one, other in zip(alone, helped, strict=True):
        for name in one:
            assert torch.equal(one[name].nan_to_num(7.0), other[name].nan_to_num(7.0))
    assert alone[0]["observation.images.navigation"].dtype == torch.uint8
    assert alone[0]["cost"].shape == (5, 2)


def test_reading_bags_needs_no_torch(sessions: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from safevla_ros.bags.dataset import EpisodeDataset\n"
        "print(len(EpisodeDataset.open(Path(sys.argv[1]))))\n"
    )
    command = [sys.executable, "-c", program, str(sessions)]
    root = str(Path(__file__).parents[3])
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout == "48\n"


def test_topics_of_the_provenance_do_not_matter(make_bag: MakeBag) -> None:
    bag = make_bag("e-1", episode_id="e-1", topics=json.dumps({"observation": "/elsewhere"}))
    add_episode(bag)
    assert len(EpisodeDataset.open(bag.finish())) == 4


def test_the_policys_end_is_a_step_that_moves_and_costs_nothing(make_bag: MakeBag) -> None:
    bag = make_bag("e-1", episode_id="e-1", outcome="SUCCESS")
    add_episode(bag)
    at_s = 10.0 + STEP_S * 4
    add_observation(bag, at_s, 77)
    end = bag.new(
        "ActionChunk",
        episode_id="e-1",
        chunk_id=4,
        first_step=4,
        tokens=np.array([TOKENS["end"]], np.uint16),
    )
    bag.put(at_s, "/action_chunk", end)
    bag.episode(at_s + 0.1, "ENDED", outcome="SUCCESS", end_declared=True)
    data = EpisodeDataset.open(bag.finish(outcome="SUCCESS"))
    assert [step.token for step in data.steps] == [3, 4, 5, 6, TOKENS["end"]]
    last, before = data[4], data[3]
    assert last["imitate"]
    assert last["done"]
    assert not before["done"]
    assert last["reward"] == 10.0
    assert before["reward"] == 0.0
    assert np.nansum(last["cost"]) == 0.0
    zone = data.cost_names.index("zone")
    assert last["remaining"][zone] == before["remaining"][zone] - before["cost"][zone]
    assert last["observation.images.navigation"][0, 0, 0] == 77
    assert last["action.applied"][:3].tolist() == [0.0, 0.0, 0.0]
