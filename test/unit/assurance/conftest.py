"""Crafted bags of real messages, made without ROS."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rosbags.typesys.store import Typestore

sys.path.insert(0, str(Path(__file__).parent))

from bag_maker import BagMaker, all_types


@pytest.fixture(scope="session")
def types() -> Typestore:
    """Every message type of the package and of ROS 2."""
    return all_types()


@pytest.fixture
def make_bag(types: Typestore, tmp_path: Path) -> Callable[..., BagMaker]:
    """Begins a bag of the given name, with provenance."""

    def make(name: str = "bag", **provenance: str) -> BagMaker:
        return BagMaker(types, tmp_path / name, **provenance)

    return make
