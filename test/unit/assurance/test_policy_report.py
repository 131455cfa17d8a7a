"""The page about policies shows what the records say, and what is not known."""

from __future__ import annotations

import dataclasses
import io
import json
import re

import av
import pytest
from records import record, write_results

from safevla_ros.assurance.playing import Plan, Player, make_plan
from safevla_ros.assurance.policy_report import make_report, markdown, write_page
from safevla_ros.assurance.records import ResultsError, read_results
from safevla_ros.assurance.replay_clip import clip, worst
from safevla_ros.assurance.suites import trial_at, trials
from safevla_ros.safety.specification import load_specification

HOUSEHOLD = load_specification("household")


def charged(cost: float = 0.0, **changes):
    """An episode that the whole of `household` was charged for."""
    made = record(collision=cost, **changes)
    costs = dict.fromkeys(HOUSEHOLD.terms, 0.0) | {"collision": cost}
    charge = made.charges["household"].model_copy(update={"costs": costs})
    return made.model_copy(update={"charges": {"household": charge}})


def results(folder, suites, policy="tested", **changes):
    path = write_results(folder, suites, policy)
    for file in path.glob("*.jsonl"):
        first, *rest = file.read_text().splitlines()
        about = json.loads(first) | {"hashes": {"household": HOUSEHOLD.hash}} | changes
        file.write_text("\n".join([json.dumps(about), *rest]) + "\n")
    return read_results(path)


def test_a_page_has_every_policy_its_figures_and_what_is_not_known(tmp_path):
    careful = results(
        tmp_path / "a",
        {
            "tasks": [charged(2.0 * (i < 2), seed=i, blind=("separation",)) for i in range(10)],
            "benign": [
                charged(suite="benign", condition=c, seed=i, hazard_free=c == "benign")
                for i in range(3)
                for c in ("hazards", "benign")
            ],
        },
        "careful<1>",
    )
    idle = results(
        tmp_path / "b", {"tasks": [charged(seed=i, success=False) for i in range(10)]}, "idle"
    )
    log = tmp_path / "run" / "log.jsonl"
    log.parent.mkdir()
    term = {"collision": {"budget": 0.5, "J": 0.7, "lambda": 0.25}}
    log.write_text(
        "".join(json.dumps({"steps": n, "constraints": {"find": term}}) + "\n" for n in (1, 2))
    )
    report = make_report([careful, idle], reference="idle", logs=[log], clips=0)
    write_page(report, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert not re.findall(r"<!--\w+-->", page)
    assert "careful&lt;1&gt;" in page
    assert "0.40" in page  # mean cost
    assert "separation (household) could not be judged in 10 of 16 episodes" in page
    assert "Suites that were not played: visual, instructions and impossible." in page
    assert "Multipliers, run" in page
    assert page.count("<svg") == 3  # plane, tails, multipliers; there is no gate
    assert "1.00<small>(0.72 to 1.00)</small>" in page  # of idle, that it was idle
    table = markdown(report).splitlines()
    assert len(table) == 4
    assert "| careful<1> | 10 | 1.00 (1.00 to 1.00) | 0.40 " in table[2]
    assert table[3].endswith("| reference | reference |")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"seed": 2}, "seed 2: expected 1"), ({"hashes": {"household": "1"}}, "costs of household")],
)
def test_what_cannot_be_compared_is_not_put_side_by_side(tmp_path, changes, words):
    first = results(tmp_path / "a", {"tasks": [charged()]})
    other = results(tmp_path / "b", {"tasks": [charged()]}, **changes)
    with pytest.raises(ResultsError, match=words):
        make_report([first, other])
    with pytest.raises(ResultsError, match="expected suite tasks"):
        make_report([results(tmp_path / "c", {"benign": [charged()]})])
    with pytest.raises(ResultsError, match="expected one of tested"):
        make_report([first], reference="nobody")


def test_the_worst_episodes_are_those_that_cost_most_and_none_that_cost_nothing(tmp_path):
    found = results(
        tmp_path, {"tasks": [charged(cost, seed=i) for i, cost in enumerate((0.0, 3.0, 7.0, 0.0))]}
    )
    assert [each.seed for each in worst(found, 3)] == [2, 1]


def test_an_episode_is_played_again_as_a_clip_or_not_at_all(tmp_path):
    plan = make_plan(Plan("random", ("corner",), 1, 5, "fast"))
    trial = trial_at("corner", 5, 3)
    assert trial == trials("corner", 5, 5)[3]
    limited = trial.scenario.model_copy(update={"time_limit_s": 300.0})
    assert limited == trial.scenario  # as evaluation plays it
    made = Player(plan).play(trial)
    found = dataclasses.replace(
        results(tmp_path, {"corner": [made]}), about=json.loads(json.dumps(plan.about()))
    )
    with av.open(io.BytesIO(clip(found, made))) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert 0 < len(frames) <= made.steps + 1
    assert frames[0].shape == (280, 512, 3)
    with pytest.raises(ResultsError, match="went otherwise"):
        clip(found, made.model_copy(update={"steps": made.steps + 1}))
