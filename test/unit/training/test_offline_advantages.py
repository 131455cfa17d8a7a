"""Returns to go, windows and advantages of short episodes, by hand."""

import numpy as np

from safevla_ros.training.offline.advantages import advantages, discounted, to_go, windows

LAST = np.array([0, 0, 1, 0, 1], bool)
NEVER = np.zeros(5, bool)


def test_returns_to_go_stop_at_the_episodes_end():
    np.testing.assert_allclose(to_go(np.array([1.0, 0, 2, 5, 1]), LAST), [3, 2, 2, 6, 1])
    columns = np.array([[1.0, 0], [0, 1], [2, 0], [5, 0], [1, 1]])
    np.testing.assert_allclose(to_go(columns, LAST)[:, 1], [1, 1, 0, 1, 1])


def test_windows_stay_within_the_episode():
    assert windows(LAST, NEVER, 2).tolist() == [2, 2, 1, 2, 1]
    assert windows(LAST, NEVER, 8).tolist() == [3, 2, 1, 2, 1]
    assert windows(LAST, NEVER, 1).tolist() == [1] * 5


def test_windows_end_where_something_else_decided():
    cut = np.array([0, 0, 1, 0, 0], bool)
    assert windows(LAST, cut, 8).tolist() == [2, 1, 1, 2, 1]
    first = np.array([1, 0, 0, 0, 0], bool)
    assert windows(LAST, first, 8).tolist() == [1, 2, 1, 2, 1]


def test_what_follows_counts_less_by_the_step_and_ends_where_something_else_decided():
    values = np.array([1.0, 0, 2, 5, 1])
    np.testing.assert_allclose(discounted(values, LAST, NEVER, 0.5), [1.5, 1.0, 2.0, 5.5, 1.0])
    cut = np.array([0, 0, 1, 0, 0], bool)
    np.testing.assert_allclose(discounted(values, LAST, cut, 0.5), [1.0, 0.0, 2.0, 5.5, 1.0])
    columns = np.stack([values, values], axis=1)
    np.testing.assert_allclose(discounted(columns, LAST, NEVER, 1.0)[:, 1], to_go(values, LAST))


def test_an_advantage_is_what_came_and_is_expected_less_what_was_expected():
    values = np.array([1.0, 0, 2, 5, 1])
    expected = np.array([2.0, 1.0, 3.0, 4.0, 0.5])
    length = np.array([2, 2, 1, 2, 1])
    # 1 + 0 + V(2) - V(0); 0 + 2 - V(1) at the end; 2 - V(2); 5 + 1 - V(3); 1 - V(4)
    found = advantages(values, expected, LAST, length)
    np.testing.assert_allclose(found, [2.0, 1.0, -1.0, 2.0, 0.5])


def test_a_cut_window_reads_the_critic_where_it_is_cut():
    cut = np.array([0, 1, 0, 0, 0], bool)
    length = windows(LAST, cut, 3)
    expected = np.array([2.0, 1.5, 3.0, 4.0, 0.5])
    found = advantages(np.array([1.0, 0, 2, 5, 1]), expected, LAST, length)
    assert found[0] == 1.0 + 1.5 - 2.0
