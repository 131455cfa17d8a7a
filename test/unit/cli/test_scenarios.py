"""`safevla scenarios`: lists what there is, draws it where OpenGL is, and says what is wrong."""

from __future__ import annotations

import av
import cv2
import numpy as np
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


def test_a_scenario_is_filmed(tmp_path, capsys):
    path = tmp_path / "short.yaml"
    path.write_text(
        "{name: short, seed: 3, rooms: 1, task: find, hazards: [], time_limit_s: 2,"
        " policy: scripted-hurried}"
    )
    try:
        scenarios.scenarios([str(path)], films=tmp_path / "films")
    except Failure as failure:
        if failure.code is not ExitCode.LACKS_SOFTWARE:
            raise
        pytest.skip(str(failure))
    film = tmp_path / "films" / "short.mp4"
    assert capsys.readouterr().out == f"{film}\n"
    with av.open(str(film)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert frames[0].shape == (400, 640, 3)
    assert len(frames) / 10.0 == pytest.approx(2.5, abs=0.6)  # time is up in the step after 2 s
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 50  # the robot moves


def test_a_robot_that_cannot_be_drawn_is_wrong_input(tmp_path):
    with pytest.raises(Failure, match=r"--robot-urdf: .*none\.urdf: expected a URDF") as error:
        scenarios.scenarios(["separation"], tmp_path, robot_urdf=str(tmp_path / "none.urdf"))
    assert error.value.code is ExitCode.BAD_INPUT


def test_an_unknown_name_is_wrong_input():
    with pytest.raises(Failure, match="no_such_scenario") as error:
        scenarios.scenarios(["no_such_scenario"], None)
    assert error.value.code is ExitCode.BAD_INPUT
