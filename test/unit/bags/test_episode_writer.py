"""Episodes that were written where no graph runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader
from written_episode import write

from safevla_ros.bags import BagError
from safevla_ros.bags.catalogue import Worst, entry
from safevla_ros.bags.checking import check
from safevla_ros.bags.dataset import EpisodeDataset
from safevla_ros.bags.episode_writer import EpisodeInfo, EpisodeWriter


def test_a_written_episode_is_a_bag_like_any_other(tmp_path: Path) -> None:
    bag = write(tmp_path, "e-1")
    found = entry(bag)
    assert (found.outcome, found.instruction, found.complete) == ("SUCCESS", "find the mug", True)
    assert found.costs == {"zone_intrusion": 1.0, "drop": 0.0}
    assert found.worst == Worst("zone_intrusion", -0.5, 1)
    assert check(bag).sound
    with AnyReader([bag]) as reader:
        assert reader.message_count == 3 + 4 * 3
    with (bag / "e-1_0.mcap").open("rb") as stream:
        assert sum(1 for _ in make_reader(stream).iter_messages()) == 15

    data = EpisodeDataset.open(bag)
    assert data.cameras == ("navigation", "manipulation")
    first, held_back, last = data
    assert [s["action.token"] for s in data] == [0, 1, 2]
    np.testing.assert_allclose(held_back["action.proposed"][:1], [0.2])
    np.testing.assert_allclose(held_back["action.applied"][:1], [0.1])
    assert [bool(s["imitate"]) for s in data] == [True, False, True]
    assert np.isnan(first["action.log_probability"])
    assert last["action.log_probability"] == -0.5
    assert data.cost_names == ("drop", "zone_intrusion")
    assert held_back["cost"].tolist() == [0.0, 1.0]
    assert held_back["predicted_cost"].tolist() == [0.0, 1.0]
    assert held_back["applicable"].tolist() == [False, True]
    assert last["reward"] == 10.0


def test_an_episode_that_is_interrupted_can_be_read(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        EpisodeWriter(tmp_path / "e", EpisodeInfo("e", "find it")),
    ):
        raise KeyboardInterrupt
    assert entry(tmp_path / "e").problem == "the recording was not finished"
    with pytest.raises(BagError, match="expected a new folder"):
        EpisodeWriter(tmp_path / "e", EpisodeInfo("e", "find it"))
