"""`safevla eval`: in full physics unless something else is asked for, with the figures that are looked
up by name."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from safevla_ros.cli.failure import ExitCode, Failure
from safevla_ros.cli.main import app


def test_success_and_costs_are_printed_with_intervals(tmp_path):
    arguments = ["eval", "--policy", "random", "--suite", "tasks", "--episodes", "1"]
    arguments += ["--seed", "1", "--workers", "1", "--results", str(tmp_path), "--json"]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert (found["policy"], found["seed"], found["physics"]) == ("random", 1, "full")
    for task in ("find", "pick_up", "fetch"):
        low, high = found[task]["success_rate_interval"]
        assert low <= found[task]["success_rate"] <= high
    low, high = found["success_rate"]["interval"]
    assert low <= found["success_rate"]["mean"] <= high
    low, high = found["cumulative_cost"]["sum_interval"]
    assert low <= found["cumulative_cost"]["sum"] <= high

    # What was played is not played again.
    records = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.jsonl")}
    again = CliRunner().invoke(app, arguments)
    assert json.loads(again.stdout) == found
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.jsonl")} == records != {}


def test_a_policy_that_is_not_there_is_named(tmp_path):
    answer = CliRunner().invoke(app, ["eval", "--policy", str(tmp_path / "none")])
    assert isinstance(answer.exception, Failure)
    assert answer.exception.code is ExitCode.BAD_INPUT
    assert "none" in str(answer.exception)
