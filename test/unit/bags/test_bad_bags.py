"""Bags that are wrong in every known way, before all that reads them: each says what is wrong, keeps
what is good and makes nothing up."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_bag import STEPS, TOPICS, Live

from safevla_ros.bags import BagError, RawMessage, mcap_file
from safevla_ros.bags.catalogue import entry
from safevla_ros.bags.checking import check
from safevla_ros.bags.cutting import as_topic
from safevla_ros.bags.dataset import EpisodeDataset
from safevla_ros.bags.definitions import Definition
from safevla_ros.bags.mcap_file import McapFile
from safevla_ros.bags.reader import Bag
from safevla_ros.bags.repair import repair
from safevla_ros.bags.scoring import Scored, score
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.profile import load_profile, urdf_path
from safevla_ros.safety.specification import load_specification

MakeBag = Callable[..., Any]
Change = Callable[[RawMessage], RawMessage | None]
PROFILE = load_profile("sim")


def scored(folder: Path, **options: Any) -> Scored:
    return score(Bag(folder), PROFILE, Kinematics(urdf_path(PROFILE)), **options)


def faults(folder: Path) -> str:
    return "\n".join(finding.what for finding in check(folder).findings if finding.fault)


def record(make_bag: MakeBag, name: str, episode: str = "e-1") -> Path:
    """An episode with what a monitor and a policy said in it."""
    bag = make_bag(name, robot="sim", topics=json.dumps(TOPICS), episode_id=episode)
    put = bag.put

    def renamed(time_s: float, topic: str, message: Any, **options: Any) -> None:
        field = "id" if topic == "/episode" else "episode_id"
        if hasattr(message, field):
            setattr(message, field, episode)
        put(time_s, topic, message, **options)

    bag.put = renamed
    Live(bag, load_specification("household"))
    for step in range(STEPS):
        at_s = 1.0 + 0.2 * step
        image = bag.new("sensor_msgs/msg/Image", height=8, width=8, step=24, encoding="rgb8")
        image.data = np.full(192, step, np.uint8)
        bag.put(at_s, "/observation", bag.new("Observation", camera_names=["eye"], images=[image]))
        tokens = np.array([step], np.uint16)
        bag.put(at_s, "/action_chunk", bag.new("ActionChunk", first_step=step, tokens=tokens))
    return bag.finish(outcome="FAILURE")


@pytest.fixture
def good(make_bag: MakeBag, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bag in small chunks."""
    monkeypatch.setattr(mcap_file, "CHUNK_BYTES", 4096)
    return record(make_bag, "good")


def rewritten(
    source: Path,
    name: str,
    messages: list[RawMessage],
    definitions: dict[str, str] | None = None,
) -> Path:
    """A bag of these messages, which says what `source` says; `definitions` by topic."""
    bag, target = Bag(source), source.parent / name
    list(bag.messages())
    target.mkdir()
    file = McapFile(target / f"{name}_0.mcap", bag.provenance)
    for topic in dict.fromkeys(message.topic for message in messages):
        info = as_topic(bag.topics[topic])
        text = (definitions or {}).get(topic)
        file.add_topic(info if text is None else replace(info, definition=Definition(text)))
    for number, message in enumerate(messages):
        file.write(message, number)
    file.finish({})
    return target


def test_a_bag_cut_anywhere_is_worth_what_came_before_the_cut(good: Path, tmp_path: Path) -> None:
    whole = (good / "good_0.mcap").read_bytes()
    data, verdict = EpisodeDataset.open(good), scored(good)
    lengths = set()
    part, generator = len(whole) // 10, random.Random(5)
    for position in (part * number + generator.randrange(part) for number in range(10)):
        folder = tmp_path / f"cut-{position}"
        folder.mkdir()
        (folder / "cut_0.mcap").write_bytes(whole[:position])
        assert "the recording was not finished" in faults(folder), f"cut at {position}"
        assert not entry(folder).complete
        try:
            found = scored(folder)
            assert [s.costs for s in found.steps] == [
                s.costs for s in verdict.steps[: len(found.steps)]
            ] or "holds no costs" in str(found.notes)
            assert found.differences == []
            lengths.add(len(found.steps))
        except BagError:
            pass
        try:
            steps = list(EpisodeDataset.open(folder))
            assert [int(s["step"]) for s in steps] == list(range(len(steps)))
            for one, other in zip(steps, data, strict=False):
                np.testing.assert_array_equal(one["cost"], other["cost"])
        except BagError:
            pass
        readable = sum(1 for _ in Bag(folder).messages())
        if readable:
            assert repair(folder).messages == readable
            assert faults(folder).startswith("the recorder said: repaired: ")
    assert len(lengths) > 3


OWN_TOPICS = ("episode", "cost_specification", "cost_vector", "gated_action", "observation", "odom")


@pytest.mark.parametrize("name", OWN_TOPICS)
@pytest.mark.parametrize("fault", ["schema", "bytes", "absent"])
def test_a_topic_that_is_wrong_or_missing_is_named_and_the_rest_is_read(
    good: Path, name: str, fault: str
) -> None:
    topic = f"/{name}"
    messages = list(Bag(good).messages())
    if fault == "bytes":
        messages = [replace(m, data=m.data[:10]) if m.topic == topic else m for m in messages]
    if fault == "absent":
        messages = [message for message in messages if message.topic != topic]
    wrong = {topic: "uint8 other\n"} if fault == "schema" else None
    folder = rewritten(good, "wrong", messages, wrong)
    said = faults(folder)
    if fault != "absent":
        count = sum(message.topic == topic for message in messages)
        assert f"{topic}: {count} messages cannot be decoded" in said
    elif name in ("episode", "cost_vector", "odom"):
        assert f"{topic}: no message, though it is the robot's" in said
    assert entry(folder).messages == len(messages)

    if name == "cost_specification":
        with pytest.raises(BagError, match="holds no cost specification"):
            scored(folder)
    else:
        found = scored(folder)
        notes = "\n".join(found.notes)
        if name == "odom":
            assert found.incomplete == STEPS
        elif name == "cost_vector":
            assert "holds no costs that can be read" in notes
        elif name in ("episode", "gated_action"):
            assert ("not recorded" if name == "episode" else "no command was recorded") in notes
        if fault != "absent" and name != "observation":
            assert notes.count("cannot be decoded") == 1, "once, not for each message"

    if name in ("cost_vector", "gated_action", "observation"):
        why = {"cost_vector": "no costs", "gated_action": "no command was judged"}
        with pytest.raises(BagError, match=f"{STEPS} steps left out: {why.get(name, 'no obs')}"):
            EpisodeDataset.open(folder)
    else:
        assert len(EpisodeDataset.open(folder)) == STEPS


def test_observations_without_pixels_are_left_out_and_counted(
    make_bag: MakeBag, good: Path
) -> None:
    """Wherever they are: the first one too, from which the names of the columns come."""
    empty = make_bag("empty")
    for step in (0, 4, 5):
        image = empty.new("sensor_msgs/msg/Image", encoding="rgb8")
        observation = empty.new("Observation", camera_names=["eye"], images=[image])
        empty.put(1.0 + 0.2 * step, "/observation", observation)
    bad = {m.log_time_ns: m for m in Bag(empty.finish()).messages()}
    messages = [
        bad.get(m.log_time_ns, m) if m.topic == "/observation" else m for m in Bag(good).messages()
    ]
    data = EpisodeDataset.open(rewritten(good, "dark", messages))
    assert [int(sample["step"]) for sample in data] == [1, 2, 3, 6, 7, 8, 9]
    notes = "\n".join(data.notes)
    assert "/observation: 3 messages left out: observation: expected an rgb8 image" in notes
    assert "3 steps left out: no observation" in notes


def test_of_two_sessions_in_one_bag_nothing_is_taken_for_granted(
    make_bag: MakeBag, good: Path
) -> None:
    mine = list(Bag(good).messages())
    theirs = list(Bag(record(make_bag, "theirs", "e-2")).messages())
    late = [replace(m, log_time_ns=m.log_time_ns + 7_000_000) for m in theirs]
    folder = rewritten(good, "mixed", sorted(mine + late, key=lambda m: m.log_time_ns))
    why = "two sessions interleaved: the messages alternate between episodes e-1, e-2"
    assert why in faults(folder)
    with pytest.raises(BagError, match=why):
        scored(folder)
    with pytest.raises(BagError, match=why):
        EpisodeDataset.open(folder)
    # One after the other they are two episodes.
    after = [replace(m, log_time_ns=m.log_time_ns + 10**10) for m in theirs]
    folder = rewritten(good, "both", mine + after)
    assert "interleaved" not in faults(folder)
    assert (len(scored(folder).steps), scored(folder).differences) == (2 * STEPS, [])
    assert len(EpisodeDataset.open(folder)) == 2 * STEPS


@pytest.mark.parametrize("clock", ["file", "receipt"])
def test_time_that_runs_backwards_slowly_is_noticed(good: Path, clock: str) -> None:
    messages = list(Bag(good).messages())
    end_ns = messages[-1].log_time_ns
    back = (
        messages[::-1]
        if clock == "file"
        else [replace(m, log_time_ns=2 * end_ns - m.log_time_ns) for m in messages]
    )
    said = faults(rewritten(good, "back", back))
    what = "time runs backwards" if clock == "file" else "the time of receipt runs backwards"
    assert f"/odom: {what} at 3 places" in said


def test_a_clock_that_was_set_back_ends_the_steps_of_a_bag_without_costs(good: Path) -> None:
    """What comes after it would all be charged to one step."""
    priced = ("/cost_vector", "/clock")
    messages = [m for m in Bag(good).messages() if m.topic not in priced]
    half = len(messages) // 2
    again = [replace(m, log_time_ns=m.log_time_ns + 10**10) for m in messages[:half]]
    folder = rewritten(good, "reset", messages[half:] + again)
    found = scored(folder, step_s=0.2, specification=load_specification("household"))
    assert 4 <= len(found.steps) <= 6
    assert any("messages left out: time runs backwards" in note for note in found.notes)
