"""The loop goes from step to step, runs what won, and loses nothing when it is stopped."""

from __future__ import annotations

import pytest

from safevla_ros.assurance.rounds import (
    LoopError,
    LoopSettings,
    Played,
    load_state,
    run_loop,
    scenario_of,
    table,
)
from safevla_ros.simulation.home import generate_home
from safevla_ros.simulation.seeds import TRAINING_SEEDS

SETTINGS = LoopSettings(
    policy="first",
    rounds=3,
    episodes=2,
    mode="observe",
    specification="household",
    budgets={"collision": 0.5},
    evaluation_episodes=60,
    evaluation_physics="full",
    margin=0.05,
    fit=(),
    time_limit_s=180.0,
    real_time_factor=1.0,
    seed=0,
)


class Stopped(Exception):
    """Ctrl-C."""


class World:
    """Plays, fits and proves as it is told, and writes down who did what."""

    def __init__(self, promoted=(True, False, True), learnt=True, stop_after=None):
        self.diary: list[str] = []
        self._promoted, self._learnt, self._stop_after = promoted, learnt, stop_after

    @property
    def acts(self):
        return {"play": self.play, "fit": self.fit, "prove": self.prove}

    def _note(self, what):
        self.diary.append(what)
        if len(self.diary) == self._stop_after:
            raise Stopped

    def play(self, state, entry, keep):
        for number in range(len(entry.played), state.settings.episodes):
            self._note(f"{entry.number} play {number} {entry.policy}")
            costs = {"collision": float(number)}
            entry.played.append(
                Played(scenario="s", episode_id="e", outcome="SUCCESS", steps=3, costs=costs)
            )
            keep()

    def fit(self, state, entry, keep):
        self._note(f"{entry.number} fit {entry.policy}")
        if self._learnt:
            entry.candidate = f"loop/round-{entry.number}/fit/policy"
        else:
            entry.note = "nothing learnt: these bags do not support this budget"

    def prove(self, state, entry, keep):
        self._note(f"{entry.number} prove")
        entry.promoted = self._promoted[entry.number - 1]
        entry.reasons = [] if entry.promoted else ["it costs too much"]


WHOLE = [
    "1 play 0 first",
    "1 play 1 first",
    "1 fit first",
    "1 prove",
    "2 play 0 loop/round-1/fit/policy",
    "2 play 1 loop/round-1/fit/policy",
    "2 fit loop/round-1/fit/policy",
    "2 prove",
    "3 play 0 loop/round-1/fit/policy",
    "3 play 1 loop/round-1/fit/policy",
    "3 fit loop/round-1/fit/policy",
    "3 prove",
]


def test_rounds_run_what_was_promoted_last(tmp_path):
    world, state = World(), load_state(tmp_path, SETTINGS)
    run_loop(tmp_path, state, world.acts)
    assert world.diary == WHOLE
    assert state.over
    assert state.running_policy() == "loop/round-3/fit/policy"
    head, *rows = table(state)
    assert [row[head.index("verdict")] for row in rows] == [
        "promoted",
        "refused: it costs too much",
        "promoted",
    ]
    assert [row[head.index("policy")] for row in rows] == ["first", "round-1", "round-1"]
    assert {row[head.index("cost of an episode")] for row in rows} == {"0.50"}
    again = World()
    run_loop(tmp_path, load_state(tmp_path, SETTINGS), again.acts)
    assert again.diary == []


@pytest.mark.parametrize("after", range(1, len(WHOLE)))
def test_stopped_at_any_moment_it_goes_on_where_it_was(tmp_path, after):
    first = World(stop_after=after)
    with pytest.raises(Stopped):
        run_loop(tmp_path, load_state(tmp_path, SETTINGS), first.acts)
    second = World()
    run_loop(tmp_path, load_state(tmp_path, SETTINGS), second.acts)
    assert first.diary[:-1] + second.diary == WHOLE  # what was under way is done again


def test_bags_that_teach_nothing_leave_the_policy_as_it_is(tmp_path):
    world, state = World(learnt=False), load_state(tmp_path, SETTINGS)
    run_loop(tmp_path, state, world.acts)
    assert [line for line in world.diary if "prove" in line] == []
    assert state.running_policy() == "first"
    assert all("do not support this budget" in row[-1] for row in list(table(state))[1:])


def test_only_more_rounds_may_be_asked_of_a_loop_that_is_there(tmp_path):
    run_loop(tmp_path, load_state(tmp_path, SETTINGS), World().acts)
    more = SETTINGS.model_copy(update={"rounds": 4})
    world = World(promoted=(True,) * 4)
    run_loop(tmp_path, load_state(tmp_path, more), world.acts)
    assert world.diary[0] == "4 play 0 loop/round-3/fit/policy"
    with pytest.raises(LoopError, match="expected no fewer"):
        load_state(tmp_path, SETTINGS)
    with pytest.raises(LoopError, match=r"budgets was .*0\.5"):
        load_state(tmp_path, more.model_copy(update={"budgets": {"collision": 1.0}}))
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(LoopError, match="expected the state of a loop"):
        load_state(tmp_path, more)


def test_homes_that_are_played_in_are_of_the_training_range_and_none_comes_twice():
    scenarios = [scenario_of(SETTINGS, n, e) for n in (1, 2) for e in range(2)]
    assert len({scenario.seed for scenario in scenarios}) == 4
    assert all(scenario.seed in TRAINING_SEEDS for scenario in scenarios)
    for scenario in scenarios:
        assert not generate_home(scenario).zones
