"""These tests need torch, which is not part of what a robot needs; without it none is run."""

import importlib.util
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # makes vla_examples.py importable

if importlib.util.find_spec("torch") is None:
    collect_ignore_glob = ["test_*.py"]

    def pytest_terminal_summary(terminalreporter):
        """Say what was not tested."""
        terminalreporter.write_line(
            "SKIPPED test/learning: torch is not installed (pip install '.[train]')"
        )
else:
    import torch

    torch.set_num_threads(1)  # two threads on a shared machine are slower than one
