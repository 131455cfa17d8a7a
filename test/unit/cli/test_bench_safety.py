"""`safevla bench gate`, `stop`, `faults` and `monitor` print what they promise. How fast is not judged here."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from safevla_ros.cli.main import app


def run(*arguments):
    result = CliRunner().invoke(app, ["bench", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_gate_tells_what_each_case_costs():
    report = run("gate", "--rounds", "10", "--dds", "0")
    for case in ("state_only", "scan_360", "cloud_24k", "objects_64"):
        assert report[case]["compute_p99_ms"] >= report[case]["compute_p50_ms"] > 0.0
        assert report[case]["world_p99_ms"] > 0.0


@pytest.fixture(scope="module")
def courses():
    return run("stop", "--runs", "10", "--seed", "3")


def test_whatever_steps_into_the_way_is_not_touched(courses):
    assert courses["blocked"] == 5
    assert courses["touched"] == 0
    assert courses["time_to_stop_s"]["max"] < 1.0
    assert courses["time_to_resume_s"]["max"] < 1.5


def test_what_stands_beside_the_way_stops_nobody(courses):
    assert courses["false_stops"] == 0.0


def test_every_fault_is_answered_with_its_own_reason():
    for name, fault in run("faults", "--times", "2")["faults"].items():
        assert fault["right_reason"] == 2, name
        assert fault["never_safe"] == 0, name
        assert fault["worst_s"] <= 1.0, name


def test_monitor_compares_what_a_robot_sees_with_the_truth():
    report = run("monitor", "--episodes", "1")
    assert report["steps"] > 10
    for term in report["terms"].values():
        assert term["true"] >= 0
        assert 0.0 <= term["not_judged"] <= 1.0
    zone = report["terms"]["zone_intrusion"]
    assert zone["not_judged"] == 0.0
