"""`safevla` as a command: help, exit codes, and what it says where something is missing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from safevla_ros.paths import share_directory

VERBS = ("card", "doctor", "eval", "loop", "promote", "replay", "report", "scenarios", "sim", "up")
GROUPS = ("bags", "bench", "data", "train")
PROJECT = Path(__file__).parents[3] / "pyproject.toml"
HEAVY = {"rclpy", "numpy", "mujoco", "numba", "pydantic", "matplotlib", "onnxruntime"}

RUN = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
sys.argv = ["safevla", *sys.argv[2:]]
from safevla_ros.cli.main import main
main()
"""


def safevla(*arguments: str, without: str = "", **environment: str) -> subprocess.CompletedProcess:
    """Run the command; modules named in `without` cannot be imported."""
    return subprocess.run(
        [sys.executable, "-c", RUN, without or "nothing", *arguments],
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
        env=dict(os.environ, COLUMNS="200") | environment,
    )


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Runs the command in this process, in an empty folder: (exit code, output, errors)."""
    from safevla_ros.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["safevla", *arguments])
        with pytest.raises(SystemExit) as ending:
            main()
        code = ending.value.code
        return int(code or 0), *capsys.readouterr()

    return run


def test_help_lists_verbs_and_exit_codes(call):
    code, out, _ = call("--help")
    assert code == 0
    for word in (*VERBS, *GROUPS, "130", "another graph is on this ROS domain"):
        assert word in out


@pytest.mark.parametrize("verb", [*VERBS, *GROUPS])
def test_each_verb_has_an_example(call, verb):
    code, out, _ = call(verb, "--help")
    assert code == 0
    assert f"Example: safevla {verb}" in out


def test_help_loads_nothing_heavy():
    program = (
        "import sys; sys.argv = ['safevla', '--help']\n"
        "from safevla_ros.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('MODULES', *sys.modules, file=sys.stderr)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60.0, check=True
    )
    assert HEAVY.isdisjoint(run.stderr.partition("MODULES")[2].split())


@pytest.mark.parametrize(
    "arguments",
    [["fly"], ["sim", "--real-time-factor", "fast"], ["up"], ["sim", "--real-time-factor", "0"]],
)
def test_wrong_usage_ends_with_2(call, arguments):
    code, _, err = call(*arguments)
    assert code == 2
    assert err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["up", "--robot", "nobody"], "robot 'nobody': expected one of"),
        (["up", "--robot", "nobody", "--check"], "robot 'nobody': expected one of"),
        (["up", "--robot", "stretch"], "policy: expected a policy folder"),
        (["up", "--robot", "sim", "--mode", "loud"], "mode: expected one of"),
        (["up", "--robot", "sim", "--json"], "--json goes with --check"),
        (["sim", "--scenario", "nowhere"], "scenario 'nowhere': expected one of"),
        (["sim", "--policy", "nothing"], "policy 'nothing': expected one of"),
        (["sim", "--specification", "nothing"], "nothing"),
    ],
)
def test_bad_input_ends_with_2_and_one_sentence(call, arguments, sentence, tmp_path):
    pytest.importorskip("rclpy")
    code, _, err = call(*arguments)
    assert code == 2
    assert sentence in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("domain", ["blue", "300"])
@pytest.mark.parametrize(
    "arguments",
    [["sim"], ["up", "--robot", "sim"], ["up", "--robot", "sim", "--check"], ["replay", "bag"]],
)
def test_what_is_no_domain_is_bad_input(call, monkeypatch, arguments, domain):
    monkeypatch.setenv("ROS_DOMAIN_ID", domain)
    code, _, err = call(*arguments)
    assert code == 2
    assert err.startswith("safevla: ROS_DOMAIN_ID: expected a number")
    assert err.count("\n") == 1


def test_a_policy_file_that_is_cut_short_is_bad_input(call, tmp_path):
    pytest.importorskip("rclpy")
    base = share_directory() / "policies" / "base"
    (tmp_path / "mine").mkdir()
    shutil.copy(base / "policy.yaml", tmp_path / "mine")
    (tmp_path / "mine" / "policy.onnx").write_bytes((base / "policy.onnx").read_bytes()[:1000])
    for verb in (["sim"], ["up", "--robot", "stretch"], ["up", "--robot", "stretch", "--check"]):
        code, _, err = call(*verb, "--policy", "mine")
        assert code == 2
        assert err.startswith("safevla: mine/policy.onnx: expected the sha256 ")
        assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("verb", "lacking"),
    [
        (["sim"], "rclpy"),
        (["sim"], "safevla_ros.msg"),
        (["up", "--robot", "sim"], "rclpy"),
        (["up", "--robot", "sim", "--check"], "rclpy"),
    ],
)
def test_without_ros_the_graph_verbs_say_how_to_get_it(verb, lacking):
    run = safevla(*verb, without=lacking)
    assert run.returncode == 4
    assert run.stderr.count("\n") == 1
    assert run.stderr.startswith("safevla: ")
    assert "make build" in run.stderr


@pytest.mark.parametrize(
    ("verb", "lacking", "cure"),
    [
        (["eval", "--policy", "random"], "scipy", "pip install scipy"),
        (["report", "results"], "matplotlib", "pip install matplotlib"),
        (["train", "imitation"], "torch", ".[train]"),
        (["data", "generate", "--episodes", "1"], "scipy", "pip install scipy"),
        (["bench", "bags"], "cv2", "pip install opencv-python-headless"),
        (["bench", "gate"], "pinocchio", "pip install pin"),
        (["bags", "score", "runs"], "pinocchio", "pip install pin"),
        (["bags", "export", "runs", "to"], "pyarrow", "pip install pyarrow"),
    ],
)
def test_a_verb_says_in_one_sentence_what_it_lacks(verb, lacking, cure):
    run = safevla(*verb, without=lacking)
    assert run.returncode == 4, run.stderr
    assert run.stderr.count("\n") == 1
    assert run.stderr.startswith(f"safevla: {lacking} is not installed: ")
    assert cure in run.stderr


def test_what_only_plays_needs_no_torch():
    arguments = ["data", "generate", "--episodes", "1", "--styles", "brave"]
    run = safevla(*arguments, without="torch,safetensors")
    assert run.returncode == 2
    assert "styles" in run.stderr


def test_every_package_that_may_be_missing_is_one_that_pip_brings_as_it_is_said():
    from safevla_ros.extras import EXTRAS, PACKAGES

    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 can read pyproject.toml")
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]

    def declared(lines):
        return {re.split(r"[<>=;]", line)[0] for line in lines}

    assert set(PACKAGES.values()) <= declared(project["dependencies"])
    for extra, modules in EXTRAS.items():
        names = {{"foxglove": "foxglove-sdk"}.get(module, module) for module in modules}
        assert names <= declared(project["optional-dependencies"][extra])


def doctor(**options: str) -> tuple[int, dict]:
    """Exit code and answer of `safevla doctor --json`."""
    run = safevla("doctor", "--json", **options)
    assert run.stderr == "", run.stderr
    return run.returncode, json.loads(run.stdout)


class TestDoctor:
    def test_without_ros_it_works_and_says_what_is_missing(self):
        code, answer = doctor(without="rclpy")
        assert code == 1
        assert answer["sim_can_run"] is False
        assert answer["checks"]["ros"]["status"] == "missing"
        assert "make build" in answer["checks"]["ros"]["fix"]

    def test_a_missing_package_is_named_with_its_cure(self):
        code, answer = doctor(without="mujoco,onnxruntime,pinocchio,mcap,rclpy")
        assert code == 1
        for check in ("simulator", "inference", "kinematics", "recording"):
            finding = answer["checks"][check]
            assert finding["status"] == "missing"
            assert "pip install " in finding["fix"]

    def test_a_middleware_that_is_not_installed_is_named(self, tmp_path):
        (tmp_path / "share/ament_index/resource_index/rmw_typesupport").mkdir(parents=True)
        (tmp_path / "share/ament_index/resource_index/rmw_typesupport/rmw_fastrtps_cpp").touch()
        code, answer = doctor(RMW_IMPLEMENTATION="rmw_other_cpp", AMENT_PREFIX_PATH=str(tmp_path))
        assert code == 1
        assert "RMW_IMPLEMENTATION asks for rmw_other_cpp" in answer["checks"]["ros"]["text"]
        assert "has rmw_fastrtps_cpp" in answer["checks"]["ros"]["text"]

    def test_a_machine_without_a_compiler_gets_the_apt_line(self, tmp_path):
        _, answer = doctor(without="rclpy", PATH=str(tmp_path))
        finding = answer["checks"]["compiler"]
        assert finding["status"] != "ok"
        assert finding["fix"].startswith("sudo apt-get install g++ make cmake")

    def test_a_dds_profile_of_ones_own_that_loses_images_is_named(self, tmp_path):
        path = tmp_path / "mine.xml"
        path.write_text("<profiles><participant/></profiles>")
        _, answer = doctor(without="rclpy", FASTDDS_DEFAULT_PROFILES_FILE=str(path))
        finding = answer["checks"]["fastdds_profile"]
        assert finding["status"] == "note"
        assert str(path) in finding["text"]
        assert "no segment size" in finding["text"]

    def test_a_dds_profile_that_is_not_there_is_named(self, tmp_path):
        path = tmp_path / "gone.xml"
        _, answer = doctor(without="rclpy", FASTDDS_DEFAULT_PROFILES_FILE=str(path))
        assert answer["checks"]["fastdds_profile"]["status"] == "missing"

    def test_the_shipped_dds_profile_is_large_enough(self):
        _, answer = doctor(without="rclpy")
        assert answer["checks"]["fastdds_profile"]["status"] == "ok"
        assert "16 MB" in answer["checks"]["fastdds_profile"]["text"]

    def test_a_domain_that_is_no_number_is_named(self):
        code, answer = doctor(ROS_DOMAIN_ID="blue")
        assert code == 1
        assert answer["checks"]["domain"]["text"].startswith("ROS_DOMAIN_ID: expected a number")

    def test_a_graph_on_the_domain_is_named(self, tmp_path):
        from safevla_ros.nodes.graph.domain import DomainLock

        lock = DomainLock(99)
        lock.acquire()
        try:
            code, answer = doctor(ROS_DOMAIN_ID="99")
        finally:
            lock.release()
        assert code == 1
        assert "another graph runs on ROS domain 99" in answer["checks"]["domain"]["text"]
