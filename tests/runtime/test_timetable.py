"""Timetables: the epoch of every step, in phases of different lengths, against a list of all steps."""

import pytest

from dsrna_jax.runtime.timetable import Timetable


@pytest.mark.parametrize("phases", [((3, 4),), ((1, 1),), ((2, 3), (3, 2)), ((1, 5), (2, 1), (1, 3))])
def test_every_step_is_in_the_epoch_that_a_list_of_all_steps_gives(phases):
    lengths = [length for epochs, length in phases for _ in range(epochs)]
    listed = [(epoch, done, length) for epoch, length in enumerate(lengths, 1) for done in range(1, length + 1)]
    timetable = Timetable(phases)
    assert (timetable.epochs, timetable.steps) == (len(lengths), len(listed))
    assert [timetable.place(step) for step in range(timetable.steps + 1)] == [(1, 0, lengths[0]), *listed]
    assert [timetable.is_end(step) for step in range(1, timetable.steps + 1)] == [done == length for _, done, length in listed]
    assert timetable.is_end(0)
    sizes = [epochs * length for epochs, length in phases]
    of_steps = [(number, sum(sizes[: number + 1])) for number, size in enumerate(sizes) for _ in range(size)]
    assert [timetable.phase(step) for step in range(1, timetable.steps + 1)] == of_steps


def test_steps_after_the_end_are_of_the_last_phase():
    assert Timetable(((2, 3), (1, 2))).place(11) == (5, 1, 2) and Timetable(((2, 3),)).place(9) == (3, 3, 3)
