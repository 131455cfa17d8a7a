"""The `safevla` command: one file per verb, listed in main.py.

A verb's module imports nothing heavy before its function runs, so that `safevla --help` answers at
once, and so that verbs which need no ROS work where there is none.
"""
