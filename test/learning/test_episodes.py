"""Episodes on disk survive a kill, stay within their bound, and play on through windows."""

import json

import numpy as np
import pytest

from safevla_ros.training.episodes import INDEX, EpisodeStore, IndexReader
from safevla_ros.training.streams import Library, Streams


def episode(number, steps):
    """An episode that is known by its number."""
    return {
        "number": np.full(steps, number, np.int64),
        "step": np.arange(steps, dtype=np.int64),
        "image": np.full((steps, 4, 4, 3), number, np.uint8),
    }


def filled(folder, lengths):
    store = EpisodeStore(folder)
    for number, steps in enumerate(lengths):
        store.add(f"e{number}", episode(number, steps), {"steps": steps})
    return store


def library_of(store):
    library = Library(store, np.random.default_rng(0))
    library.add([line["name"] for line in IndexReader(store.folder).new()])
    return library


def test_what_is_added_is_read_back(tmp_path):
    store = filled(tmp_path, [3])
    arrays = store.load("e0")
    for key, value in episode(0, 3).items():
        np.testing.assert_array_equal(arrays[key], value)


def test_oldest_go_beyond_the_bound_and_keep_their_lines(tmp_path):
    size = 200 * 48  # of the images
    store = EpisodeStore(tmp_path, limit_gib=4 * size / 2**30)
    for number in range(6):
        store.add(f"e{number}", episode(number, 200), {})
    there = [number for number in range(6) if store.load(f"e{number}") is not None]
    assert there == list(range(there[0], 6))
    assert 1 <= len(there) <= 4
    assert [line["name"] for line in IndexReader(tmp_path).new()] == [f"e{n}" for n in range(6)]


def test_index_gives_each_line_once_and_waits_for_one_that_is_not_finished(tmp_path):
    filled(tmp_path, [1])
    reader = IndexReader(tmp_path)
    with (tmp_path / INDEX).open("a") as index:
        index.write('{"name": "e')
        index.flush()
        assert [line["name"] for line in reader.new()] == ["e0"]
        assert reader.new() == []
        index.write('1"}\n')
    assert [line["name"] for line in reader.new()] == ["e1"]


def test_a_line_left_in_pieces_by_a_kill_costs_no_other(tmp_path):
    (tmp_path / INDEX).write_text('{"name": "e0", "st\n' + json.dumps({"name": "e1"}) + "\n")
    assert [line["name"] for line in IndexReader(tmp_path).new()] == ["e1"]


def test_names_that_are_paths_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected letters"):
        EpisodeStore(tmp_path).add("../e", episode(0, 1), {})


def test_windows_play_every_episode_whole_and_in_order(tmp_path):
    streams = Streams(library_of(filled(tmp_path, [5, 7, 3, 9])), streams=2, window=4)
    windows = [streams.next_window() for _ in range(12)]
    for row in range(2):
        numbers, steps, first, images = (
            np.concatenate([window[key][row] for window in windows])
            for key in ("number", "step", "first", "image")
        )
        np.testing.assert_array_equal(images[:, 0, 0, 0], numbers)
        np.testing.assert_array_equal(first, steps == 0)
        for t in range(1, len(steps)):
            if first[t]:
                assert steps[t - 1] == [5, 7, 3, 9][numbers[t - 1]] - 1
            else:
                assert (numbers[t], steps[t]) == (numbers[t - 1], steps[t - 1] + 1)


def test_what_is_new_is_played_before_anything_again(tmp_path):
    store = filled(tmp_path, [1, 1, 1])
    library = library_of(store)
    assert {int(library.draw()["number"][0]) for _ in range(3)} == {0, 1, 2}
    library.draw()
    store.add("e3", episode(3, 1), {})
    library.add(["e3"])
    assert int(library.draw()["number"][0]) == 3


def test_a_dropped_episode_is_passed_over(tmp_path):
    store = filled(tmp_path, [1, 1])
    library = library_of(store)
    (tmp_path / "e0.npz").unlink()
    assert {int(library.draw()["number"][0]) for _ in range(4)} == {1}
    (tmp_path / "e1.npz").unlink()
    assert len(library_of(store)) == 0  # a run that goes on knows its index, not what was dropped
    with pytest.raises(LookupError, match="no episode"):
        library.draw()
