"""`safevla train online` as a person calls it, and what it shows."""

import io
import json

import pytest
import vla_examples
import yaml
from rich.console import Console
from typer.testing import CliRunner

from safevla_ros.cli import train
from safevla_ros.cli.failure import ExitCode, Failure
from safevla_ros.cli.online_view import OnlineView, sparkline
from safevla_ros.policy.vla.checkpoint import save_checkpoint
from safevla_ros.policy.vla.torch_policy import TorchPolicy
from safevla_ros.training.online.budgets import load_budgets


def call(*arguments):
    return CliRunner().invoke(
        train.app, [str(argument) for argument in arguments], catch_exceptions=False
    )


def test_a_run_is_started_refused_twice_gone_on_with_and_exported(tmp_path):
    start, run = tmp_path / "start", tmp_path / "run"
    save_checkpoint(start, vla_examples.model(cost_terms=(), image_size=48))
    budgets = tmp_path / "budgets.json"
    budgets.write_text('{"find": {"corner": 0.5}}')
    begin = ["online", "--start", start, "--directory", run, "--budgets", budgets, "--steps", 128]
    begin += ["--environments", 1, "--workers", 0, "--tasks", "find", "--max-steps", 15]
    begin += ["--gamma", 0.999]
    assert call(*begin).exit_code == 0
    assert json.loads((run / "online.json").read_text())["learning"]["ppo"]["gamma"] == 0.999
    (line,) = [json.loads(text) for text in (run / "log.jsonl").read_text().splitlines()]
    assert line["steps"] == 128
    assert line["constraints"].keys() == {"find"}
    with pytest.raises(Failure, match="holds a run already") as failed:
        call(*begin)
    assert failed.value.code is ExitCode.BAD_INPUT
    assert call("online", "--resume", "--directory", run).exit_code == 0  # it was done
    assert len((run / "log.jsonl").read_text().splitlines()) == 1
    assert call("online", "--resume", "--directory", run, "--steps", 200).exit_code == 0
    (_, longer) = [json.loads(text) for text in (run / "log.jsonl").read_text().splitlines()]
    assert longer["steps"] == 256
    call("export", "--name", "mine", "--directory", run, "--output", tmp_path)
    with pytest.raises(Failure, match="mine: cannot be written"):
        call("export", "--name", "mine", "--directory", run, "--output", budgets)
    policy = TorchPolicy(tmp_path / "mine", vla_examples.ROLES)
    assert policy.description.id == "mine"
    assert "temperature: 0.5" in (tmp_path / "mine" / "policy.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume"], "there is no run to go on with"),
        ([], "--start: expected a policy's folder"),
        (["--start", "."], "expected a policy folder"),
        (["--start", ".", "--algorithm", "trpo"], r"algorithm: Input should be 'ppo'"),
        (["--start", ".", "--specification", "kitchen"], "expected one of household, paper"),
        (["--start", "."], "no term has a budget"),
        (["--start", ".", "--budgets", "none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(tmp_path, arguments, message):
    more = ["--specification", "household"] if message == "expected a policy folder" else []
    with pytest.raises(Failure, match=message):
        call("online", "--directory", tmp_path / "run", *arguments, *more)
    assert not (tmp_path / "run").exists()


def test_budgets_are_a_share_of_what_the_last_episodes_of_a_run_cost(tmp_path):
    def line(steps, episodes, corner):
        of_task = {"episodes": episodes, "cost": {"corner": corner, "blind_spot": 0.0}}
        return json.dumps({"steps": steps, "episodes": {"find": of_task}, "constraints": {}}) + "\n"

    log = tmp_path / "log.jsonl"
    log.write_text(line(100, 50, 70.0) + line(200, 4, 8.0) + line(300, 6, 3.0))
    printed = call("budgets", "--directory", tmp_path, "--episodes", 10, "--share", 0.1).output
    assert yaml.safe_load(printed) == {"find": {"corner": 0.5, "blind_spot": 0.0}}
    assert "300 steps" in printed
    assert "10 find" in printed
    (tmp_path / "budgets.yaml").write_text(printed)
    assert load_budgets(tmp_path / "budgets.yaml")["find"]["corner"] == 0.5
    with pytest.raises(Failure, match="expected 500 episodes of each task, got 60 find"):
        call("budgets", "--directory", tmp_path)
    log.write_text('{"steps": 100, "episodes": 7}\n')  # of imitation
    with pytest.raises(Failure, match="expected the log of an online run"):
        call("budgets", "--directory", tmp_path)
    log.write_text(line(100, 50, 70.0)[:-9])
    with pytest.raises(Failure, match="expected the log of an online run"):
        call("budgets", "--directory", tmp_path)


def test_a_curve_goes_from_its_lowest_to_its_highest():
    assert sparkline([0.0, 1.0]) == "▁█"
    assert sparkline([3.0] * 5) == "▁▁▁▁▁"
    assert sparkline([1.0]) == ""
    assert len(sparkline(list(range(1000)))) == 30


def test_the_view_shows_each_constraint_in_a_terminal_and_in_plain_lines():
    constraint = {"budget": 0.5, "J": 1.25, "episodes": 9, "satisfied": 0.5}
    line = {
        "steps": 200,
        "share_done": 0.2,
        "elapsed_s": 30.0,
        "steps_per_s": 11.0,
        "collecting": 0.5,
        "episodes": {"find": {"episodes": 3, "success": 0.25, "return": 2.5}},
        "constraints": {
            "find": {
                "corner": constraint | {"lambda": 5.0, "error": 1.5, "saturated": True},
                "drop": constraint | {"budget": None, "J": None, "satisfied": None},
            }
        },
        "losses": {"policy": 0.1},
    }
    shown = {}
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=200)
        with OnlineView(console, 1000) as view:
            view.update(line)
        shown[terminal] = console.file.getvalue()
    assert "find corner" in shown[True]
    assert "5 cap" in shown[True]
    assert "200 of 1,000 steps" in shown[True]
    assert "find corner: J 1.25 of 0.5, lambda 5" in shown[False]
    assert "drop" not in shown[False]
