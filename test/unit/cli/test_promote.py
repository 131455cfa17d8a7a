"""`safevla promote`: its exit code, its reasons, and what it leaves in place. The episodes are there
already: nothing is played here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from safevla_ros.assurance.playing import Plan, make_plan
from safevla_ros.assurance.records import Charge, EpisodeRecord
from safevla_ros.assurance.release import SUITES
from safevla_ros.assurance.suites import trials
from safevla_ros.safety.specification import load_specification

sys.path.insert(0, str(Path(__file__).parents[1] / "policy"))

import tiny_policy

TERMS = load_specification("household").terms


@pytest.fixture
def promote(monkeypatch, capsys, tmp_path):
    """Runs the command in this process: (exit code, the decision)."""
    from safevla_ros.cli.main import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, dict]:
        small = ("--episodes", "1", "--least-episodes", "1", "--margin", "1", "--json")
        monkeypatch.setattr(sys, "argv", ["safevla", "promote", *arguments, *small])
        with pytest.raises(SystemExit) as ending:
            main()
        out = capsys.readouterr().out
        return int(ending.value.code or 0), json.loads(out) if out else {}

    return run


def played(folder: Path, policy: str, *, success: bool = True) -> str:
    """Results of a policy as `safevla promote` would have played them."""
    plan = make_plan(
        Plan(policy, SUITES, 1, 1, specifications=("household",), gate_specification="household")
    )
    folder.mkdir()
    charge = Charge(costs=dict.fromkeys(TERMS, 0.0), depth=0.0, near=0, unsafe=False, blind=())
    for suite in SUITES:
        lines = [json.dumps(plan.about())]
        lines += [
            EpisodeRecord(
                suite=suite,
                index=trial.index,
                condition=trial.condition,
                task=trial.scenario.task,
                seed=trial.scenario.seed,
                success=success,
                reason="",
                ended=success,
                steps=10,
                charges={"household": charge},
                engagement="success" if success else "idle",
                freeze_rate=0.0,
                dither=0.0,
                deadlock=not success,
                hazard_free=trial.condition == "benign",
                interventions=None,
                needless=0,
            ).model_dump_json()
            for trial in trials(suite, 1, 1)
        ]
        (folder / f"{suite}.jsonl").write_text("\n".join(lines) + "\n")
    return str(folder)


@pytest.fixture
def running(tmp_path) -> tuple[str, ...]:
    return ("--over", "random", "--running-results", played(tmp_path / "running", "random"))


@pytest.fixture
def policy(tmp_path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    tiny_policy.write(folder)
    return folder


def test_a_good_candidate_is_put_in_place_and_what_was_there_is_kept(
    promote, running, policy, tmp_path
):
    deployed = tmp_path / "deployed"
    results = played(tmp_path / "mine", str(policy))
    command = (str(policy), *running, "--results", results, "--to", str(deployed))
    code, decision = promote(*command)
    assert (code, decision["promoted"], decision["reasons"]) == (0, True, [])
    assert json.loads((deployed / "promotion.json").read_text()) == decision
    assert (deployed / "policy.onnx").read_bytes() == (policy / "policy.onnx").read_bytes()
    (deployed / "mark").touch()
    assert promote(*command)[0] == 0
    assert not (deployed / "mark").exists()
    assert (tmp_path / "deployed.previous" / "mark").exists()


def test_doing_nothing_is_refused_with_the_reason(promote, running, tmp_path):
    results = played(tmp_path / "mine", "do-nothing", success=False)
    code, decision = promote("do-nothing", *running, "--results", results)
    assert code == 1
    assert any("it does nothing" in reason for reason in decision["reasons"])


def test_a_bad_checkpoint_is_refused_with_the_reason_and_nothing_is_touched(
    promote, running, policy, tmp_path
):
    data = (policy / "policy.onnx").read_bytes()
    (policy / "policy.onnx").write_bytes(data[: len(data) // 2])
    code, decision = promote(str(policy), *running, "--to", str(tmp_path / "deployed"))
    assert code == 1
    assert "it cannot be run" in decision["reasons"][0]
    assert not (tmp_path / "deployed").exists()
    assert not (policy / "promotion.json").exists()


@pytest.mark.parametrize(
    "arguments", [("nobody",), ("random", "--budget", "collision"), ("random", "--budget", "x=1")]
)
def test_wrong_input_is_no_refusal(promote, running, arguments):
    assert promote(*arguments, *running)[0] == 2


def test_where_a_policy_cannot_be_put_is_said_before_anything_is_played(promote, policy, tmp_path):
    other = tmp_path / "not_a_policy"
    other.mkdir()
    assert promote(str(policy), "--over", "random", "--to", str(other))[0] == 2
    assert promote("random", "--over", "random", "--to", str(tmp_path / "new"))[0] == 2
    assert not (tmp_path / "runs").exists()
