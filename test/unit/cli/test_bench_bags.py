"""`safevla bench bags`: the keys that documents and scripts go by, on a recording of half a second."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from safevla_ros.cli.bench import app


def test_the_report_has_every_figure_beside_its_baseline() -> None:
    done = CliRunner().invoke(
        app, ["bags", "--seconds", "0.5", "--rounds", "1", "--seed", "3", "--json"]
    )
    assert done.exit_code == 0, done.output
    report = json.loads(done.output)
    record, read, workers = report["record"], report["read"], report["workers"]
    assert (report["seconds"], report["rounds"], report["seed"]) == (0.5, 1, 3)
    assert record["ratio"] == pytest.approx(record["mb_s"] / record["bare_mcap_mb_s"])
    assert {"p50", "p99"} <= record["latency_ms"].keys()
    for kind in ("raw", "jpeg"):
        each = read[kind]
        assert each["ratio"] == each["rosbags_ms"] / each["ours_ms"] > 0.0
        assert each["of_limit"] == each["ours_ms"] / each["limit_ms"] > 0.0
    assert read["ratio"] == min(read["raw"]["ratio"], read["jpeg"]["ratio"])
    assert read["of_limit"] == max(read["raw"]["of_limit"], read["jpeg"]["of_limit"])
    assert read["bag_mib"] > 1.0
    assert read["peak_mib"] >= 0.0
    assert workers["speedup"] == workers["one_s"] / workers["two_s"]
