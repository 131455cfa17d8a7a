"""The list of bags, what people say about them, and pieces cut out of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from safevla_ros.bags import BagError
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.catalogue import Worst, entries, entry, label
from safevla_ros.bags.cutting import cut
from safevla_ros.bags.reader import Bag

MakeBag = Callable[..., Any]


def add_costs(bag: Any) -> None:
    """Two violations: that of the zone is the deeper one, measured in its own scale."""
    terms = [
        bag.new("CostTermSpecification", name="collision", scale=0.5),
        bag.new("CostTermSpecification", name="zone", scale=0.1),
    ]
    bag.put(1.0, "/cost_specification", bag.new("CostSpecification", terms=terms))
    bag.costs(2.0, 0, collision={"cumulative": 0.0, "margin": 0.5}, zone={"margin": 1.0})
    bag.costs(3.0, 1, collision={"cumulative": 1.0, "margin": -0.5}, zone={"margin": 1.0})
    bag.costs(4.0, 2, collision={"cumulative": 1.0, "margin": 0.5}, zone={"margin": -0.3})


def test_a_bag_that_says_what_it_cost_is_not_read_again(make_bag: MakeBag) -> None:
    bag = make_bag("e-1", episode_id="e-1", kind="episode", instruction="find the mug")
    add_costs(bag)
    worst = {"term": "collision", "margin": -0.25, "step": 7}
    bag.finish(costs=json.dumps({"collision": 9.0}), worst=json.dumps(worst), outcome="SUCCESS")
    found = entry(bag.folder)
    assert (found.outcome, found.costs, found.complete) == ("SUCCESS", {"collision": 9.0}, True)
    assert found.worst == Worst("collision", -0.25, 7)
    assert (found.messages, found.duration_s) == (4, 3.0)


def test_a_bag_that_was_cut_off_is_read_for_its_costs(make_bag: MakeBag, tmp_path: Path) -> None:
    bag = make_bag("below/e-1", episode_id="e-1")
    add_costs(bag)
    bag.flush()
    [found] = entries(tmp_path)
    assert found.costs == {"collision": 1.0, "zone": 0.0}
    assert found.worst == Worst("zone", -0.3, 2)
    assert not found.complete
    assert found.problem == "the recording was not finished"


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="expected a bag, or a folder with bags in it"):
        list(entries(tmp_path))


def test_labels_are_added_and_taken_away_and_the_recording_stays(make_bag: MakeBag) -> None:
    bag = make_bag("e-1", robot="sim")
    add_costs(bag)
    bag.finish(outcome="UNKNOWN", costs="{}")
    recording = bag.path.read_bytes()
    label(bag.folder, {"light": "dim", "operator": "me"}, outcome="FAILURE", outcome_reason="fell")
    label(bag.folder, {"operator": ""})
    found = entry(bag.folder)
    assert (found.outcome, found.labels, found.robot) == ("FAILURE", {"light": "dim"}, "sim")
    assert bag.path.read_bytes() == recording
    with AnyReader([bag.folder]) as reader:
        assert reader.message_count == 4


def test_a_bag_that_is_not_finished_cannot_be_labelled(make_bag: MakeBag) -> None:
    bag = make_bag()
    bag.flush()
    with pytest.raises(BagError, match=r"metadata\.yaml: expected a finished bag"):
        label(bag.folder, {"a": "b"})


def test_a_piece_begins_with_what_was_latched_before_it(
    make_bag: MakeBag, tmp_path: Path, latched_then_text: Path
) -> None:
    source = list(Bag(latched_then_text).messages())
    begin_ns, end_ns = source[20].log_time_ns, source[30].log_time_ns
    assert cut(latched_then_text, tmp_path / "piece", begin_ns, end_ns) == 12
    piece = list(Bag(tmp_path / "piece").messages())
    assert (piece[0].topic, piece[0].data) == ("/status", source[1].data)
    assert piece[0].log_time_ns == begin_ns
    assert piece[1:] == source[20:31]
    assert Bag(tmp_path / "piece").provenance[keys.KIND] == "clip"
    with AnyReader([tmp_path / "piece"]) as reader:
        assert reader.message_count == 12
    with (tmp_path / "piece" / "piece_0.mcap").open("rb") as stream:
        assert sum(1 for _ in make_reader(stream).iter_messages()) == 12


def test_nothing_to_cut_leaves_nothing(tmp_path: Path, latched_then_text: Path) -> None:
    with pytest.raises(BagError, match="holds no message in the time"):
        cut(latched_then_text, tmp_path / "piece", 0, 1)
    assert not (tmp_path / "piece").exists()
    with pytest.raises(BagError, match="expected a new folder"):
        cut(latched_then_text, latched_then_text, 0, 1 << 62)
