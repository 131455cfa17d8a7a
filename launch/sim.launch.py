"""A simulated robot doing a task: `ros2 launch safevla_ros sim.launch.py`.

All arguments of bringup.launch.py apply. `run:=false` brings the graph up and leaves the goal to
you: action `run_policy`, service `reset_scenario`.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node


def generate_launch_description() -> LaunchDescription:
    """The bringup, and somebody who asks for the scenario's task once and then ends it all."""
    bringup = str(Path(__file__).with_name("bringup.launch.py"))
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "run", default_value="true", description="Do the scenario's task once, then stop"
            ),
            DeclareLaunchArgument(
                "scenario",
                default_value="default",
                description="A name under sim/scenarios, or a path to a .yaml file",
            ),
            DeclareLaunchArgument(
                "namespace", default_value="", description="Namespace of all relative names"
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(bringup), launch_arguments={"robot": "sim"}.items()
            ),
            Node(
                package="safevla_ros",
                executable="run_scenario",
                namespace=LaunchConfiguration("namespace"),
                output="screen",
                condition=IfCondition(LaunchConfiguration("run")),
                on_exit=Shutdown(reason="the run is over"),
            ),
        ]
    )
