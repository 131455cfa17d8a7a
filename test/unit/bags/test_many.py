"""Many bags at once: in order, with a bad one passed over, and taken up again after a kill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from safevla_ros.bags.catalogue import entry
from safevla_ros.bags.many import ResultsFile, each_bag


@pytest.fixture
def paths(make_bag: Callable[..., Any], tmp_path: Path) -> list[Path]:
    """Three bags of 1, 2 and 3 messages, and a folder that is none."""
    folders = []
    for count, name in enumerate(("one", "two", "three"), start=1):
        bag = make_bag(name)
        for number in range(count):
            bag.pose(10.0 + number, 0.0, 0.0)
        folders.append(bag.finish())
    (tmp_path / "bad").mkdir()
    return [folders[0], tmp_path / "bad", *folders[1:]]


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_a_bad_bag_is_passed_over(
    paths: list[Path], workers: int
) -> None:
    seen: list[int] = []
    done = list(
        each_bag(entry, paths, workers=workers, progress=lambda done, total: seen.append(done))
    )
    assert [each.path for each in done] == paths
    assert [each.result and each.result.messages for each in done] == [1, None, 2, 3]
    assert "expected a bag" in done[1].error
    assert seen == sorted(seen)
    assert seen[-1] == 4


def test_what_is_done_is_not_done_again_unless_the_bag_has_changed(
    paths: list[Path], tmp_path: Path
) -> None:
    file = tmp_path / "results.jsonl"
    results = ResultsFile(file)
    results.add(paths[0], {"cost": 1.0})
    results.add(paths[2], {"cost": 2.0})
    # The process is killed in the middle of the next line.
    file.write_text(file.read_text() + '{"bag": "')
    again = ResultsFile(file)
    assert (again.get(paths[0]) or {})["cost"] == 1.0
    assert again.get(paths[3]) is None
    again.add(paths[3], {"cost": 3.0})
    (paths[2] / "metadata.yaml").write_text("longer than before")
    last = ResultsFile(file)
    assert (last.get(paths[3]) or {})["cost"] == 3.0
    assert last.get(paths[2]) is None
    assert ResultsFile(file, asked="another specification").get(paths[3]) is None
