"""`safevla scenarios`: lists what there is, draws it where OpenGL is, and says what is wrong."""

from __future__ import annotations

import cv2
import pytest

from safevla_ros.cli import scenarios
from safevla_ros.cli.failure import ExitCode, Failure
from safevla_ros.simulation.scenario import scenario_names


def test_all_named_scenarios_are_listed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    scenarios.scenarios(None, None)
    listed = capsys.readouterr().out
    assert all(f" {name} " in listed for name in scenario_names())
    assert "stove, knives" in listed
    assert "wet_floor" in listed


def test_a_scenario_is_drawn(tmp_path, capsys):
    try:
        scenarios.scenarios(["separation"], tmp_path / "pictures")
    except Failure as failure:
        if failure.code is not ExitCode.LACKS_SOFTWARE:
            raise
        pytest.skip(str(failure))
    path = tmp_path / "pictures" / "separation.png"
    assert capsys.readouterr().out == f"{path}\n"
    picture = cv2.imread(str(path))
    assert picture.shape == (400, 1040, 3)
    assert picture.std() > 20.0


def test_an_unknown_name_is_wrong_input():
    with pytest.raises(Failure, match="no_such_scenario") as error:
        scenarios.scenarios(["no_such_scenario"], None)
    assert error.value.code is ExitCode.BAD_INPUT
