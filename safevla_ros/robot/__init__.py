"""The robot as plain data: profile, kinematics, action codec, state types and their messages.

Nothing here imports ROS. Messages are read and written by attribute (duck-typed), so the same
translation serves live messages, messages read from a bag, and tests without ROS.
"""
