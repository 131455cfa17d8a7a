"""Bags of other robots by a contract: what is resampled, left out, priced and refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from bag_maker import WALL_NS

from safevla_ros.bags import BagError
from safevla_ros.bags.contract import Contract, ContractError, load_contract
from safevla_ros.bags.contract_import import import_bag
from safevla_ros.bags.cutting import as_topic
from safevla_ros.bags.dataset import EpisodeDataset
from safevla_ros.bags.mcap_file import McapFile
from safevla_ros.bags.reader import Bag
from safevla_ros.bags.resampling import pick, sample
from safevla_ros.paths import share_directory
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.profile import load_profile, urdf_path
from safevla_ros.safety.specification import load_specification

MakeBag = Callable[..., Any]
STAMPS = np.array([0, 10, 30], np.int64) * 10**9
TIMES = np.array([-1, 0, 4, 6, 25, 31, 50], np.int64) * 10**9
GIVEN = {
    "name": "theirs",
    "rate_hz": 2,
    "clock": "/odom",
    "instruction": "pick up the mug",
    "images": {
        "navigation": {"topic": "/camera/navigation", "limit_s": 0.1, "height": 12, "width": 16}
    },
    "joints": {
        "lift": {
            "topic": "/joint_states",
            "field": "position",
            "of": "joint_lift",
            "resample": "interpolate",
            "limit_s": 0.5,
        }
    },
    "action": {"base.x": {"topic": "/cmd_vel", "field": "linear.x", "limit_s": 0.6}},
}


@pytest.mark.parametrize(
    ("how", "limit_s", "expected"),
    [
        ("hold", 10.0, [-1, 0, 0, 0, -1, 2, -1]),
        ("hold", 100.0, [-1, 0, 0, 0, 1, 2, 2]),
        ("nearest", 5.0, [0, 0, 0, 1, 2, 2, -1]),
        ("nearest", 0.0, [-1, 0, -1, -1, -1, -1, -1]),
    ],
)
def test_values_are_picked_within_the_limit(how: str, limit_s: float, expected: list[int]) -> None:
    assert pick(STAMPS, TIMES, how, limit_s).tolist() == expected
    assert pick(STAMPS[:0], TIMES, how, limit_s).tolist() == [-1] * len(TIMES)


def test_numbers_are_interpolated_between_neighbours_that_are_near_enough() -> None:
    values = np.array([0.0, 1.0, 5.0])
    nan = np.nan
    near = sample(STAMPS, values, TIMES, "interpolate", 10.0)
    np.testing.assert_allclose(near, [nan, 0.0, 0.4, 0.6, nan, nan, nan])
    far = sample(STAMPS, values, TIMES, "interpolate", 20.0)
    np.testing.assert_allclose(far, [nan, 0.0, 0.4, 0.6, 4.0, nan, nan])


def add_theirs(bag: Any, *, seconds: int = 3, camera_until: float = 99.0) -> None:
    """A robot that nobody here has: 20 Hz odometry and joints, commands at 10 Hz, a camera at 5 Hz."""
    for tick in range(20 * seconds + 1):
        at_s = 10.0 + tick / 20
        stamp = {"stamp_ns": WALL_NS + round(at_s * 1e9)}
        odometry = bag.new("nav_msgs/msg/Odometry")
        odometry.header.frame_id = "odom"
        odometry.pose.pose.position.x = 0.1 * tick / 20
        odometry.pose.pose.orientation.w = 1.0
        bag.put(at_s, "/odom", odometry, **stamp)
        joints = bag.new("sensor_msgs/msg/JointState", name=["joint_wrist", "joint_lift"])
        joints.position = np.array([9.0, tick / 20])
        bag.put(at_s + 0.01, "/joint_states", joints, stamp_ns=stamp["stamp_ns"] + 10_000_000)
        if tick % 2 == 0:
            command = bag.new("geometry_msgs/msg/Twist")
            command.linear.x = 0.1 if tick < 30 else 0.2
            bag.put(at_s, "/cmd_vel", command)
        if tick % 4 == 0 and at_s < camera_until:
            bag.image(at_s + 0.02, "navigation", (tick, 0, 0), wall=True)


def test_their_topics_become_an_episode(make_bag: MakeBag, tmp_path: Path) -> None:
    bag = make_bag("theirs")
    add_theirs(bag)
    contract = Contract.model_validate(GIVEN)
    done = import_bag(bag.finish(), tmp_path / "ours", contract)
    assert (done.steps, dict(done.left_out)) == (5, {"joint lift": 1})
    data = EpisodeDataset.open(tmp_path / "ours")
    assert data.instruction(0) == "pick up the mug"
    assert [int(s["step"]) for s in data] == [0, 1, 2, 3, 4]
    lift = [s["observation.state"][data.state_names.index("lift")] for s in data]
    np.testing.assert_allclose(lift, [0.49, 0.99, 1.49, 1.99, 2.49], atol=1e-5)
    speed = [s["action.applied"][0] for s in data]
    np.testing.assert_allclose(speed, [0.1, 0.1, 0.2, 0.2, 0.2], atol=1e-6)
    assert data[0]["observation.images.navigation"].shape == (12, 16, 3)
    assert all(s["imitate"] for s in data)


def test_where_the_contract_asks_for_nothing_the_bag_says_what_was_asked(
    make_bag: MakeBag, tmp_path: Path
) -> None:
    bag = make_bag("theirs", instruction="set the table")
    add_theirs(bag)
    contract = Contract.model_validate(GIVEN | {"instruction": ""})
    import_bag(bag.finish(), tmp_path / "ours", contract)
    assert EpisodeDataset.open(tmp_path / "ours").instruction(0) == "set the table"


@pytest.mark.parametrize(
    ("stamp_ns", "note"), [(0, "topic /odom: 1 messages left out: their stamp is 0"), (5, "")]
)
def test_a_first_stamp_that_is_none_is_left_out_and_one_of_another_clock_refused(
    make_bag: MakeBag, tmp_path: Path, stamp_ns: int, note: str
) -> None:
    """Steps from 1970 to now would fill the memory."""
    bag = make_bag("theirs")
    bag.put(9.9, "/odom", bag.new("nav_msgs/msg/Odometry"), stamp_ns=stamp_ns)
    add_theirs(bag)
    contract = Contract.model_validate(GIVEN)
    if note:
        done = import_bag(bag.finish(), tmp_path / "ours", contract)
        assert note in done.notes
        assert done.steps == 5
    else:
        with pytest.raises(BagError, match=r"topic /odom: its time jumps by 1\d{9} s"):
            import_bag(bag.finish(), tmp_path / "ours", contract)
        assert not (tmp_path / "ours").exists()


def test_a_step_without_a_picture_is_left_out(make_bag: MakeBag, tmp_path: Path) -> None:
    bag = make_bag("theirs")
    add_theirs(bag, camera_until=11.2)
    done = import_bag(bag.finish(), tmp_path / "ours", Contract.model_validate(GIVEN))
    assert done.left_out["camera navigation"] == 3
    assert done.steps == 2


def dark_after(bag: Any, time_s: float) -> None:
    """Make the bag's later images ones without pixels."""
    image = bag.image

    def dark(at_s: float, *given: Any, **options: Any) -> None:
        image(at_s, *given, **options | ({"data": np.empty(0, np.uint8)} if at_s > time_s else {}))

    bag.image = dark


def test_steps_with_a_picture_that_cannot_be_read_are_left_out(
    make_bag: MakeBag, tmp_path: Path
) -> None:
    contract = Contract.model_validate(GIVEN)
    bag = make_bag("theirs")
    dark_after(bag, 11.5)
    add_theirs(bag)
    done = import_bag(bag.finish(), tmp_path / "ours", contract)
    assert (done.steps, done.left_out["camera navigation"]) == (3, 2)
    assert "topic /camera/navigation: an image was left out: it has no data" in done.notes
    assert len(EpisodeDataset.open(tmp_path / "ours")) == 3

    night = make_bag("night")
    dark_after(night, 0.0)
    add_theirs(night)
    with pytest.raises(BagError, match=r"no step is whole: .* it has no data"):
        import_bag(night.finish(), tmp_path / "nothing", contract)
    assert not (tmp_path / "nothing").exists()


def test_a_message_that_cannot_be_read_costs_no_more_than_itself(
    make_bag: MakeBag, tmp_path: Path
) -> None:
    bag = make_bag("theirs")
    add_theirs(bag)
    bag.put(14.0, "/cmd_vel", bag.new("geometry_msgs/msg/Twist"))
    folder = bag.finish()
    source = Bag(folder)
    *messages, last = source.messages()
    file = McapFile(tmp_path / "torn.mcap", source.provenance)
    for info in source.topics.values():
        file.add_topic(as_topic(info))
    for number, message in enumerate([*messages, replace(last, data=last.data[:9])]):
        file.write(message, number)
    file.finish({})
    done = import_bag(tmp_path / "torn.mcap", tmp_path / "ours", Contract.model_validate(GIVEN))
    assert done.steps == 5
    assert any("topic /cmd_vel: 1 messages left out" in note for note in done.notes)


def test_costs_are_computed_on_the_way(make_bag: MakeBag, tmp_path: Path) -> None:
    bag = make_bag("theirs")
    add_theirs(bag)
    profile = load_profile("sim")
    # The profile's robot has a localisation, theirs has not: what needs it is not applicable.
    profile = profile.model_copy(
        update={"signals": profile.signals.model_copy(update={"localisation": None})}
    )
    zone = {"name": "z", "frame": "odom", "polygon": [[0.12, -9], [9, -9], [9, 9], [0.12, 9]]}
    import_bag(
        bag.finish(),
        tmp_path / "ours",
        Contract.model_validate(GIVEN | {"robot": "sim", "joints": {}}),
        profile=profile,
        kinematics=Kinematics(urdf_path(profile)),
        specification=load_specification("household").with_zones([zone]),
    )
    data = EpisodeDataset.open(tmp_path / "ours")
    collision, zones = (data.cost_names.index(name) for name in ("collision", "zone_intrusion"))
    assert not any(s["applicable"][collision] for s in data), "they have no contacts"
    assert len(data) == 6
    assert zones >= 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"action": {}}, "action: Dictionary should have at least 1 item"),
        ({"rate_hz": 0}, "rate_hz: Input should be greater than 0"),
        ({"topics": 1}, "topics: Extra inputs are not permitted"),
    ],
)
def test_a_contract_that_means_nothing_is_refused(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    path = tmp_path / "contract.yaml"
    path.write_text(yaml.safe_dump(GIVEN | change))
    with pytest.raises(ContractError, match=sentence):
        load_contract(path)


def test_the_example_is_a_contract() -> None:
    assert load_contract(share_directory() / "config/contracts/example.yaml").name == "example"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"clock": "/nowhere"}, "topic /nowhere: the contract names it, the bag has it not"),
        (
            {"action": {"base.x": {"topic": "/cmd_vel", "field": "linear.w", "limit_s": 1}}},
            r"topic /cmd_vel: field linear\.w: expected a field of geometry_msgs/msg/Twist",
        ),
    ],
)
def test_a_topic_or_field_that_is_not_there_is_named(
    make_bag: MakeBag, tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    bag = make_bag("theirs")
    add_theirs(bag, seconds=1)
    with pytest.raises(BagError, match=sentence):
        import_bag(bag.finish(), tmp_path / "ours", Contract.model_validate(GIVEN | change))
    assert not (tmp_path / "ours").exists()
