"""What surrounds the nodes' processes: environment, the lock on a domain, their last words."""

from __future__ import annotations

import subprocess
import sys

import pytest

from safevla_ros.nodes.graph.domain import DomainError, DomainLock, domain_id
from safevla_ros.nodes.graph.middleware import PROFILE_VARIABLES, graph_environment, profile_file
from safevla_ros.nodes.graph.process import last_complaint

NEW, OLD = PROFILE_VARIABLES


class TestEnvironment:
    def test_images_get_the_shipped_profile(self):
        assert graph_environment({}, simulated=False) == {NEW: str(profile_file())}

    @pytest.mark.parametrize("variable", PROFILE_VARIABLES)
    def test_a_profile_of_ones_own_is_left_alone(self, variable):
        given = {variable: "/home/me/dds.xml"}
        assert graph_environment(given, simulated=False) == {}

    def test_fast_dds_2_reads_the_older_variable(self, tmp_path):
        (tmp_path / "share" / "fastrtps").mkdir(parents=True)
        given = {"AMENT_PREFIX_PATH": str(tmp_path)}
        assert list(graph_environment(given, simulated=False)) == [OLD]

    def test_a_simulated_robot_stays_on_this_machine(self):
        added = graph_environment({}, simulated=True)
        assert added["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"

    @pytest.mark.parametrize("variable", ["ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY"])
    def test_unless_the_user_says_otherwise(self, variable):
        added = graph_environment({variable: "SUBNET"}, simulated=True)
        assert "ROS_AUTOMATIC_DISCOVERY_RANGE" not in added


class TestDomain:
    @pytest.mark.parametrize(("text", "number"), [(None, 0), ("", 0), ("42", 42)])
    def test_is_read_from_the_environment(self, text, number):
        assert domain_id({} if text is None else {"ROS_DOMAIN_ID": text}) == number

    @pytest.mark.parametrize("text", ["blue", "-1", "233", "1.5"])
    def test_must_be_a_number_that_dds_has_ports_for(self, text):
        with pytest.raises(DomainError, match="ROS_DOMAIN_ID: expected a number from 0 to 232"):
            domain_id({"ROS_DOMAIN_ID": text})

    def test_is_held_by_one_process_at_a_time(self, tmp_path):
        holder = (
            "import sys, time; from pathlib import Path\n"
            "from safevla_ros.nodes.graph.domain import DomainLock\n"
            "lock = DomainLock(7, Path(sys.argv[1])); lock.acquire()\n"
            "print('held', flush=True); time.sleep(60)\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout.readline() == b"held\n"
            with pytest.raises(
                DomainError, match=rf"domain 7 .*process {process.pid}.*DOMAIN_ID=8"
            ):
                DomainLock(7, tmp_path).acquire()
            DomainLock(8, tmp_path).acquire()
            process.kill()
        DomainLock(7, tmp_path).acquire()  # whoever dies lets go


class TestLastWords:
    ERROR = "[ERROR] [1700000000.000000001] [cost_monitor]: cannot configure: no such robot"
    INFO = "[INFO] [1700000000.000000002] [cost_monitor]: waiting"
    TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1\nKeyError: 3'

    @pytest.mark.parametrize(
        ("output", "complaint"),
        [
            ("", ""),
            (ERROR, "cannot configure: no such robot"),
            (f"{ERROR}\n{INFO}\nhello", "cannot configure: no such robot"),
            (
                f"{ERROR}\nx.yaml: mode: bad\n{INFO}",
                "cannot configure: no such robot\nx.yaml: mode: bad",
            ),
            (f"{INFO}\n{TRACEBACK}", "KeyError: 3"),
            (f"{ERROR}\n{TRACEBACK}", "KeyError: 3"),
            ("cannot start: no message type\n", "cannot start: no message type"),
            (f"{INFO}\nSegmentation fault", "Segmentation fault"),
        ],
    )
    def test_are_the_last_error_or_what_it_fell_over(self, output, complaint):
        assert last_complaint(output) == complaint
