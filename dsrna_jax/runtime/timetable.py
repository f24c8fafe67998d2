"""The timetable of a run: its epochs, in phases whose epochs have different numbers of steps."""

from typing import NamedTuple


class Timetable(NamedTuple):
    """Phases (epochs, steps in each of these epochs), one after the other; epochs count from 1, through all phases.

    units: the plural of what a step of each phase is, for users; by default "steps" in all.
    """

    phases: tuple[tuple[int, int], ...]
    units: tuple[str, ...] = ()

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return sum(epochs for epochs, _ in self.phases)

    @property
    def steps(self) -> int:
        """Number of steps."""
        return sum(epochs * length for epochs, length in self.phases)

    def unit(self, phase: int) -> str:
        """The plural of what a step of phase number `phase` (from 0) is."""
        return self.units[phase] if self.units else "steps"

    def phase(self, step: int) -> tuple[int, int]:
        """(number of the phase, from 0, in which step `step` (from 1) is taken; steps of the run until its end)."""
        end = 0
        for number, (epochs, length) in enumerate(self.phases):
            end += epochs * length
            if step <= end:
                return number, end
        return len(self.phases) - 1, end

    def place(self, step: int) -> tuple[int, int, int]:
        """(epoch, steps of it that are done, steps that it has) once `step` steps of the run are done.

        At its end an epoch is still that epoch, with all its steps done. Steps after the last epoch are of the last phase.
        """
        epochs = done = 0
        for count, length in self.phases[:-1]:
            if step <= done + count * length:
                break
            epochs, done = epochs + count, done + count * length
        else:
            _, length = self.phases[-1]
        whole = max(step - done - 1, 0) // length
        return epochs + whole + 1, step - done - whole * length, length

    def is_end(self, step: int) -> bool:
        """Whether an epoch is over, or none has begun, once `step` steps of the run are done."""
        _, done, length = self.place(step)
        return done in (0, length)
