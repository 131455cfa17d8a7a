"""`safevla train imitation` as a person calls it: from nothing to a policy that a robot loads."""

import json
import signal

import pytest
from typer.testing import CliRunner
from vla_examples import ROLES

from safevla_ros.cli import train
from safevla_ros.cli.failure import ExitCode, Failure
from safevla_ros.policy.load import load_policy
from safevla_ros.training.checkpoint import load_part
from safevla_ros.training.imitation import STATE


@pytest.fixture
def call():
    """Calls `safevla train`; what it does to signals is undone."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments):
        return CliRunner().invoke(
            train.app, [str(argument) for argument in arguments], catch_exceptions=False
        )

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_run_is_started_refused_twice_gone_on_with_and_exported(call, tmp_path):
    run = tmp_path / "run"
    begin = ["imitation", "--directory", run, "--minutes", 0.06, "--tasks", "pick_up"]
    begin += ["--styles", "careful", "--streams", 2, "--window", 4]
    answer = call(*begin)
    assert answer.exit_code == 0
    _, progress = load_part(run / STATE, "averaged.")
    assert f"{progress.frames:,} frames learnt from" in answer.output
    told = json.loads((run / "settings.json").read_text())
    assert (told["episodes"]["styles"], told["episodes"]["tasks"]) == (["careful"], ["pick_up"])
    episodes = [json.loads(line) for line in (run / "episodes/index.jsonl").open()]
    assert {episode["style"] for episode in episodes} == {"careful"}

    with pytest.raises(Failure, match="holds a run already") as failed:
        call(*begin)
    assert failed.value.code is ExitCode.BAD_INPUT
    with pytest.raises(Failure, match="there is no run to go on with"):
        call("imitation", "--resume", "--directory", tmp_path)
    assert call("imitation", "--resume", "--directory", run).exit_code == 0  # it was done
    assert load_part(run / STATE, "averaged.")[1] == progress

    assert call("export", "--name", "mine", "--directory", run, "--output", tmp_path).exit_code == 0
    for runtime in ("onnx", "torch"):
        assert load_policy(str(tmp_path / "mine"), ROLES, runtime=runtime).description.id == "mine"
    notes = json.loads((tmp_path / "mine" / "vla.json").read_text())["notes"]
    assert notes["progress"]["frames"] == progress.frames
