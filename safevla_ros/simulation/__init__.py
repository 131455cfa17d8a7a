"""Homes, a mobile manipulator and tasks in MuJoCo, without a display and without ROS.

`Scenario` says what is simulated, `generate_home` furnishes it, `Simulation` runs it, and
`ScriptedExpert` is a policy that uses the simulator's truth (and is named so).
"""
