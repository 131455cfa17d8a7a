"""`safevla bags` as a command: what it prints, leaves and returns."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from bag_maker import BagMaker, all_types

from safevla_ros.bags.reader import Bag

VERBS = ("ls", "show", "cut", "label", "check", "repair", "score")
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def make_episode(tmp_path: Path) -> Callable[[str], Any]:
    """An episode of three steps, the last of which cost something; still to be finished."""

    def make(name: str) -> BagMaker:
        bag = BagMaker(all_types(), tmp_path / name, episode_id="e-1", instruction="find the mug")
        bag.episode(10.0, "RUNNING")
        for step in range(3):
            cost = float(step == 2)
            bag.costs(11.0 + step, step, drop={"cost": cost, "cumulative": cost, "margin": -cost})
        bag.episode(14.0, "ENDED", outcome="FAILURE")
        return bag

    return make


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_an_example(call: Call, verb: str) -> None:
    code, out, _ = call(verb, "--help")
    assert code == 0
    assert f"Example: safevla bags {verb}" in out


def test_a_folder_is_listed_for_people_and_for_machines(call: Call, make_episode: Any) -> None:
    make_episode("runs/one/bag/e-1").finish(outcome="FAILURE")
    make_episode("runs/two/bag/e-2").flush()
    code, out, _ = call("ls")
    assert code == 0
    assert "one/bag/e-1  find the mug  FAILURE  drop 1  drop, margin -1 at step 2" in out
    assert "the recording was not finished" in out
    code, out, _ = call("ls", "runs", "--json")
    assert [entry["costs"] for entry in json.loads(out)["bags"]] == [{"drop": 1.0}] * 2


def test_a_narrow_terminal_shows_whole_paths(
    call: Call, make_episode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that is cut off cannot be given to the next verb."""
    path = "runs/" + "a-long-name/" * 8 + "e-1"
    make_episode(path).finish(outcome="FAILURE")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    code, out, _ = call("ls", ".")
    assert code == 0
    assert out.splitlines()[0] == path
    assert "find the mug, costs drop 1, worst drop, margin -1 at step 2" in out


def test_a_bag_is_cut_labelled_checked_and_repaired(call: Call, make_episode: Any) -> None:
    bag = make_episode("e-1")
    bag.flush()
    code, out, err = call("check", "e-1")
    assert code == 1
    assert "the recording was not finished" in out
    assert "safevla: 1 of 1 bags have faults" in err
    assert call("label", "e-1", "light=dim")[0] == 2
    code, out, _ = call("repair", ".")
    assert (code, out.splitlines()[0]) == (0, "e-1: repaired, 5 messages")
    assert call("label", "e-1", "light=dim", "--outcome", "SUCCESS")[0] == 0
    assert Bag(Path("e-1")).provenance["outcome"] == "SUCCESS"
    code, out, _ = call("cut", "e-1", "piece", "--from", "1.5", "--to", "3.5")
    assert (code, out) == (0, "piece: 2 messages\n")
    assert call("cut", "e-1", "piece")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("ls", "nowhere"), "nowhere: expected a bag, or a folder with bags in it"),
        (("show", "nowhere"), "nowhere: expected a bag"),
        (("score", ".", "--spec", "none"), "specification 'none': expected one of"),
        (("score", ".", "--specification", "none"), "specification 'none': expected one of"),
        (("label", "e-1", "dim"), "label 'dim': expected NAME=TEXT"),
        (("label", "e-1"), "expected labels as NAME=TEXT, or --outcome"),
        (("label", "e-1", "--outcome", "GOOD"), "--outcome GOOD: expected one of SUCCESS"),
        (("cut", "e-1", "x", "--from", "3", "--to", "2"), "--to 2: expected more than --from 3"),
    ],
)
def test_wrong_input_gets_one_sentence(
    call: Call, make_episode: Any, arguments: tuple[str, ...], sentence: str
) -> None:
    make_episode("e-1").finish()
    code, _, err = call(*arguments)
    assert code == 2
    assert err.startswith(f"safevla: {sentence}")


def test_a_bag_without_a_robot_is_not_scored(call: Call, make_episode: Any) -> None:
    make_episode("e-1").finish()
    code, _, err = call("score", "e-1")
    assert code == 1
    assert "e-1: does not say which robot it is of: give --robot" in err


def test_a_page_is_made_beside_the_bag(call: Call, make_episode: Any) -> None:
    make_episode("runs/e-1").finish()
    code, out, _ = call("show", "runs")
    assert code == 0
    assert out.splitlines()[-1] == "runs/e-1.html"
    assert "find the mug" in Path("runs/e-1.html").read_text()
