"""The graph for a robot that is already running: `ros2 launch safevla_ros robot.launch.py robot:=stretch`.

All arguments of bringup.launch.py apply. A profile's mode is shadow unless it says otherwise:
candidates are scored and nothing is forwarded.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource


def generate_launch_description() -> LaunchDescription:
    """The bringup, for a robot that must be named."""
    bringup = str(Path(__file__).with_name("bringup.launch.py"))
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "robot", description="Robot profile: a name, or a path to a file"
            ),
            DeclareLaunchArgument("policy", description="Name of a policy, or its folder"),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(bringup)),
        ]
    )
