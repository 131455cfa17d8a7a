"""The live view and the closing words, as text."""

from __future__ import annotations

import io
import json
import math

from rich.console import Console

from safevla_ros.cli.live import STARTING, PlainView, picture, view_for
from safevla_ros.cli.run_folder import make_run_folder
from safevla_ros.nodes.run_state import RunState, TermState


def running() -> RunState:
    state = RunState(robot="test robot", policy="scripted-careful")
    state.instruction, state.task = "fetch the mug", "fetch"
    state.now_s, state.time_limit_s = 10.0, 180.0
    state.begin()
    state.now_s, state.step, state.phase = 22.5, 25, "approach"
    state.mode, state.decision, state.decision_reason = "enforce", "LIMIT", "predicted"
    state.detail, state.watchdog_alive, state.active_source = "too near the table", True, "policy"
    state.counts.update(PASS=20, LIMIT=4, HALT=1)
    state.camera_to_command_ms = 14.2
    state.terms = {
        "collision": TermState("collision", "m", 2.0, 0.1, 1.0, 0.05, True, "table_1"),
        "drop": TermState("drop", "", math.nan, 0.0, 0.0, math.nan, False, "contacts"),
    }
    state.add_event("intervention", "slowed before the table")
    return state


def text_of(state: RunState) -> str:
    console = Console(file=io.StringIO(), width=140, force_terminal=False)
    console.print(picture(state))
    return console.file.getvalue()


def test_the_picture_has_what_a_person_asks_for():
    text = text_of(running())
    for expected in (
        "fetch the mug",
        "scripted-careful",
        "step 25",
        "12.5 s of 180 s",
        "camera to command 14 ms",
        "1/2",
        "+0.05 m",
        "table_1",
        "LIMIT predicted: too near the table",
        "20 pass, 4 limit, 1 halt, 0 stop",
        "enforce",
        "source policy",
        "watchdog alive",
        "slowed before the table",
    ):
        assert expected in text


def test_what_happens_again_and_again_takes_one_line():
    state = running()
    for _ in range(30):
        state.add_event("intervention", "slowed before the shelf")
    text = text_of(state)
    assert text.count("slowed before the shelf") == 1
    assert "30 times" in text
    assert "slowed before the table" in text


def test_a_term_that_cannot_be_judged_is_never_shown_as_safe():
    text = text_of(running())
    assert "not applicable" in text
    assert "no budget" in text


def test_of_terms_without_budget_and_cost_only_the_number_is_shown():
    state = running()
    for name in ("corner", "blind_spot"):
        state.terms[name] = TermState(name, "1", margin=1.0, applicable=True)
    state.terms["corner"].cumulative = 1.0
    text = text_of(state)
    assert "corner" in text
    assert "blind_spot" not in text
    assert "1 others" in text


def test_while_the_graph_starts_its_nodes_are_shown():
    state = RunState(nodes={"cost_monitor": "active", "sim_robot": "starting"})
    text = text_of(state)
    assert "cost_monitor  active" in text
    assert "sim_robot" in text


def test_where_output_is_no_terminal_each_thing_is_said_once():
    console = Console(file=io.StringIO(), width=140)
    view = view_for(console)
    assert isinstance(view, PlainView)
    state = running()
    state.nodes["cost_monitor"] = "active"
    with view:
        view.update(state)
        view.update(state)
        state.add_event("violation", "touched the table")
        view.update(state)
    lines = console.file.getvalue().splitlines()
    assert lines == [
        STARTING,
        "cost_monitor: active",
        "task: fetch the mug (scripted-careful)",
        "12.5 s intervention: slowed before the table",
        "12.5 s violation: touched the table",
    ]


def test_two_runs_of_one_second_get_two_folders(tmp_path):
    folders = {make_run_folder(tmp_path / "runs").path for _ in range(3)}
    assert len(folders) == 3
    assert all(folder.is_dir() for folder in folders)


def test_the_summary_is_told_in_a_few_lines(tmp_path):
    from safevla_ros.cli.summary import print_summary

    summary = {
        "outcome": "SUCCESS",
        "instruction": "fetch the mug",
        "reason": "the mug is held",
        "steps": 120,
        "duration_s": 61.04,
        "policy": {"id": "scripted-careful"},
        "mode": "enforce",
        "costs": {
            "collision": {"cumulative": 1.0, "budget": 2.0, "status": "ok"},
            "drop": {"cumulative": 0.0, "budget": None, "status": "not applicable"},
            "corner": {"cumulative": 0.0, "budget": None, "status": "ok"},
            "blind_spot": {"cumulative": 0.0, "budget": None, "status": "ok"},
        },
        "gate": {
            **dict.fromkeys(("pass", "limit", "halt", "stop", "latched", "shadow"), 0),
            "pass": 118,
            "limit": 2,
            "intervention_rate": 0.0167,
            "by_reason": {"predicted": 2},
        },
        "latency_ms": {"camera_to_command": {"p50": 12.3, "p95": 20.0, "p99": 31.0, "count": 120}},
        "notes": [],
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    console = Console(file=io.StringIO(), width=140)
    print_summary(console, summary, tmp_path)
    text = console.file.getvalue()
    for expected in (
        "SUCCESS",
        "the mug is held",
        "120 steps in 61.0 s",
        "collision 1 of 2, drop not applicable, 2 others without a budget 0",
        "118 pass, 2 limit",
        "p50 12.3, p95 20.0, p99 31.0 ms",
        "summary.json",
    ):
        assert expected in text
    assert "video.mp4" not in text
