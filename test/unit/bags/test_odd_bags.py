"""Bags that are whole, but not as one expects: in many files, or of another kind, or with what they
say about themselves wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from rosbags.highlevel import AnyReader
from written_episode import write

from safevla_ros.bags import BagError, RawMessage
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.catalogue import entries, entry
from safevla_ros.bags.checking import check
from safevla_ros.bags.clips import ClipOutcomes
from safevla_ros.bags.cutting import as_topic
from safevla_ros.bags.dataset import EpisodeDataset
from safevla_ros.bags.definitions import Definition
from safevla_ros.bags.mcap_file import McapFile
from safevla_ros.bags.observations import Observations
from safevla_ros.bags.own_messages import to_cdr
from safevla_ros.bags.reader import Bag
from safevla_ros.bags.repair import repair

MakeText = Callable[..., RawMessage]


def faults(folder: Path) -> str:
    return "\n".join(finding.what for finding in check(folder).findings if finding.fault)


def file_of(
    bag: Path,
    messages: list[RawMessage],
    path: Path,
    definition: str = "",
    provenance: Mapping[str, str] | None = None,
) -> None:
    """A file with these messages of a bag, which says what the bag says."""
    source = Bag(bag)
    list(source.messages())
    file = McapFile(path, provenance or source.provenance)
    for topic in dict.fromkeys(message.topic for message in messages):
        info = as_topic(source.topics[topic])
        file.add_topic(replace(info, definition=Definition(definition)) if definition else info)
    for number, message in enumerate(messages):
        file.write(message, number)
    file.finish({})


def test_a_recording_split_into_many_files_is_read_in_its_order(tmp_path: Path) -> None:
    source = write(tmp_path, "whole", steps=11)
    messages = list(Bag(source).messages())
    split = tmp_path / "split"
    split.mkdir()
    for number in range(12):
        part = messages[number * len(messages) // 12 : (number + 1) * len(messages) // 12]
        file_of(source, part, split / f"split_{number}.mcap")
    assert list(Bag(split).messages()) == messages
    assert "backwards" not in faults(split)
    assert len(EpisodeDataset.open(split)) == 11


@pytest.mark.parametrize(
    ("ending", "what"),
    [(".mcap.zstd", "compressed as a whole: `zstd -d` it first"), (".db3", "`rosbags-convert`")],
)
def test_a_bag_of_another_kind_is_named_among_the_others(
    tmp_path: Path, ending: str, what: str
) -> None:
    good, other = write(tmp_path, "good"), write(tmp_path, "other")
    path = other / "other_0.mcap"
    path.rename(other / f"other_0{ending}")
    found = {each.path: each for each in entries(tmp_path)}
    assert what in found[other].problem
    assert found[good].problem == ""
    for refuses in (check, repair, Bag):
        with pytest.raises(BagError, match=what):
            refuses(other)
    data = EpisodeDataset.open(tmp_path)
    assert len(data.episodes) == 1
    assert any(what in note for note in data.notes)
    # Beside a file that can be read it is missed, and said to be.
    shutil.copy(good / "good_0.mcap", other / "other_1.mcap")
    assert len(list(Bag(other).messages())) == len(list(Bag(good).messages()))
    assert what in faults(other)


def test_what_metadata_says_wrongly_is_found(tmp_path: Path) -> None:
    bag = write(tmp_path, "e-1")
    assert faults(bag) == ""
    path = bag / "metadata.yaml"
    whole = path.read_text()
    content = yaml.safe_load(whole)
    about = content["rosbag2_bagfile_information"]
    about["message_count"] += 1
    about["relative_file_paths"] = ["elsewhere_0.mcap"]
    about["custom_data"]["episode_id"] = "e-2"
    path.write_text(yaml.safe_dump(content))
    said = faults(bag)
    assert "metadata.yaml counts 16 messages, the recording 15" in said
    assert "metadata.yaml is about elsewhere_0.mcap, the folder holds e-1_0.mcap" in said
    assert "metadata.yaml is of episode e-2, the recording of e-1" in said
    assert EpisodeDataset.open(bag).episodes[0].outcome == "UNKNOWN", "another one's is none"


@pytest.mark.parametrize("content", ["", "{", "rosbag2_bagfile_information: {version: 9}\n"])
def test_damaged_metadata_is_made_anew_from_the_recording(tmp_path: Path, content: str) -> None:
    bag = write(tmp_path, "e-1")
    (bag / "metadata.yaml").write_text(content)
    assert "metadata.yaml is missing or damaged" in faults(bag)
    assert entry(bag).outcome == "SUCCESS"
    assert repair(bag).changed
    with AnyReader([bag]) as reader:
        assert reader.message_count == 15
    assert Bag(bag).provenance["outcome"] == "SUCCESS"


def test_of_two_definitions_of_a_topic_one_is_read(
    latched_then_text: Path, make_text: MakeText, tmp_path: Path
) -> None:
    """Bytes of the other would be decoded as something that they are not."""
    bag = tmp_path / "both"
    bag.mkdir()
    messages = list(Bag(latched_then_text).messages(["/text"]))
    texts = {"a": "# A text.\nstring  data\n", "b": "string data # the text\n", "c": "uint8 data\n"}
    for name, definition in texts.items():
        file_of(latched_then_text, messages[:5], bag / f"{name}.mcap", definition)
    read = Bag(bag)
    assert len(list(read.messages())) == 10
    assert len(read.damage) == 1
    assert "c.mcap: topic /text: two definitions of std_msgs/msg/String" in read.damage[0]


def rewritten(bag: Path, change: Callable[[Bag, RawMessage], list[RawMessage]]) -> Path:
    source = Bag(bag)
    messages = [new for raw in source.messages() for new in change(source, raw)]
    target = bag.with_name("changed")
    target.mkdir()
    file_of(bag, messages, target / "changed_0.mcap")
    return target


def test_observations_without_a_stamp_are_nobodys(tmp_path: Path) -> None:
    """All of them would be paired with whatever has the stamp 0 too."""

    def change(source: Bag, raw: RawMessage) -> list[RawMessage]:
        if raw.topic not in ("observation", "/observation") or number.pop():
            return [raw]
        return [replace(raw, data=raw.data[:4] + bytes(8) + raw.data[12:])]

    number = [False, True, False]
    bag = rewritten(write(tmp_path, "e-1"), change)
    data = EpisodeDataset.open(bag)
    assert [int(sample["step"]) for sample in data] == [1]
    assert any("1 messages left out: observation: expected a stamp" in note for note in data.notes)
    assert any("2 messages have the stamp 0" in finding.what for finding in check(bag).findings)


def test_one_observation_at_time_zero_is_where_simulated_time_begins(tmp_path: Path) -> None:
    zero = iter([True, False, False])

    def change(source: Bag, raw: RawMessage) -> list[RawMessage]:
        if raw.topic not in ("observation", "/observation") or not next(zero):
            return [raw]
        return [replace(raw, data=raw.data[:4] + bytes(8) + raw.data[12:])]

    bag = rewritten(write(tmp_path, "e-1"), change)
    observations = Observations(source := Bag(bag))
    for place, raw in source.located({"observation", "/observation"}):
        observations.add(place, raw)
    observations.sort()
    found = observations.up_to(0)
    assert found is not None
    assert found[0] == 0
    assert not any("stamp 0" in finding.what for finding in check(bag).findings)


@pytest.mark.parametrize("same", [True, False])
def test_costs_that_were_told_twice_count_once_or_not_at_all(tmp_path: Path, same: bool) -> None:
    def change(source: Bag, raw: RawMessage) -> list[RawMessage]:
        if not source.topics[raw.topic].type.endswith("CostVector"):
            return [raw]
        message = source.decode(raw)
        if message.step != 1:
            return [raw]
        message.terms[0].cost += 0.0 if same else 0.5
        return [raw, replace(raw, data=to_cdr(message))]

    bag = rewritten(write(tmp_path, "e-1"), change)
    assert "episode e-1: 1 steps have costs twice: 1" in faults(bag)
    data = EpisodeDataset.open(bag)
    assert [int(sample["step"]) for sample in data] == ([0, 1, 2] if same else [0, 2])
    left_out = "1 steps left out: costs that contradict each other"
    assert (left_out in data.notes) == (not same)


def test_an_outcome_is_the_same_whether_it_came_before_or_after_the_clip_was_closed(
    tmp_path: Path,
) -> None:
    source = write(tmp_path, "e-1")
    outcome = {keys.OUTCOME: "FAILURE", keys.OUTCOME_REASON: "it fell"}
    unknown = {keys.OUTCOME: "UNKNOWN", keys.OUTCOME_REASON: ""}
    about = Bag(source).provenance | {keys.KIND: "clip"}
    seen = []
    for name, said in (("early", outcome), ("late", unknown)):
        clip = tmp_path / name / "clip"
        clip.mkdir(parents=True)
        file_of(source, list(Bag(source).messages()), clip / "clip_0.mcap", provenance=about | said)
        if said is unknown:
            clips = ClipOutcomes(pytest.fail)
            clips.closed("e-1", clip)
            clips.tell("e-1", outcome)
            clips.wait(60.0)
        assert faults(clip) == ""
        listed = entry(clip)
        data = EpisodeDataset.open(clip)
        seen.append(
            {
                "ls": (listed.outcome, listed.complete, listed.problem, listed.messages),
                "data": (data.episodes[0].outcome, data.episodes[0].provenance),
                "rewards": [float(sample["reward"]) for sample in data],
                "file": Bag(clip / "clip_0.mcap").provenance,
            }
        )
    assert seen[0] == seen[1]
    assert seen[0]["ls"][0] == seen[0]["file"][keys.OUTCOME] == "FAILURE"
