"""`safevla bench ingest`: its figures nest by route, and both routes give the same pixels."""

import json

import pytest
from typer.testing import CliRunner

from safevla_ros.cli.failure import Failure
from safevla_ros.cli.main import app


def test_the_report_has_a_ratio_of_one_run_and_the_routes_agree():
    answer = CliRunner().invoke(app, ["bench", "ingest", "--frames", "5", "--json"])
    assert answer.exit_code == 0, answer.output
    report = json.loads(answer.stdout)
    assert report["largest_pixel_difference"] <= 1
    medians = {route: report[route]["p50"] for route in ("numpy", "ingest", "ingest_jpeg")}
    assert all(value > 0.0 for value in medians.values())
    assert report["ingest"]["count"] == 5
    assert report["speed_ratio"] == pytest.approx(medians["numpy"] / medians["ingest"], rel=0.05)


def test_a_size_that_does_not_divide_the_frame_is_refused():
    answer = CliRunner().invoke(app, ["bench", "ingest", "--size", "77"])
    assert isinstance(answer.exception, Failure)
    assert "--size: expected a divisor of 480, got 77" in str(answer.exception)
