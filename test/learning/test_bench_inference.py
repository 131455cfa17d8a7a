"""`safevla bench inference`: both runtimes are timed on the same steps and say the same."""

import json

import pytest
from typer.testing import CliRunner
from vla_examples import model

from safevla_ros.cli.failure import Failure
from safevla_ros.cli.main import app
from safevla_ros.policy.vla.export import export_policy


def test_the_report_has_a_ratio_of_one_run_and_the_runtimes_agree(tmp_path):
    export_policy(tmp_path, model(), "small")
    arguments = ["bench", "inference", "--policy", str(tmp_path), "--steps", "20", "--json"]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    report = json.loads(answer.stdout)
    assert report["largest_logit_difference"] < 1e-4
    medians = [report[runtime]["p50"] for runtime in ("torch_eager", "onnx_runtime")]
    assert report["onnx_runtime"]["count"] == 20
    assert report["speed_ratio"] == pytest.approx(medians[0] / medians[1], rel=0.05)
    assert report["memory"]["cached_step"]["p50"] > 0.0
    assert report["memory"]["speed_ratio"] > 1.0  # 32 steps are more work than one


def test_a_policy_that_is_not_there_is_named():
    answer = CliRunner().invoke(app, ["bench", "inference", "--policy", "/no/such"])
    assert isinstance(answer.exception, Failure)
    assert "/no/such" in str(answer.exception)
