"""The records of a resumed run equal an unbroken one's; the progress line is right, rare and never wraps."""

import io
import json
import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrna_jax.errors import InputError
from dsrna_jax.runtime.progress import Progress
from dsrna_jax.runtime.records import Records, rows
from dsrna_jax.runtime.timetable import Timetable


def write_steps(path, steps):
    records = Records(path)
    for step in steps:
        records.write({"step": step, "loss": 1 / (step + 1), "alphas": {"normal": [[0.5, step]]}})


def test_rows_come_back(tmp_path):
    write_steps(tmp_path / "metrics.jsonl", range(3))
    assert [row["step"] for row in rows(tmp_path / "metrics.jsonl")] == [0, 1, 2]
    assert rows(tmp_path / "metrics.jsonl")[1] == {"step": 1, "loss": 0.5, "alphas": {"normal": [[0.5, 1]]}}


def test_a_row_is_on_the_disk_once_written_and_a_new_object_appends(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first = Records(path)
    first.write({"step": 1})
    assert path.read_text() == '{"step": 1}\n'
    Records(path).write({"step": 2})
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_arrays_are_numbers_and_what_is_not_finite_is_null(tmp_path):
    path = tmp_path / "metrics.jsonl"
    Records(path).write(
        {
            "loss": jnp.float32(0.5),
            "nan": math.nan,
            "array": np.array([1.0, np.inf]),
            "nested": {"x": (np.float32("-inf"), np.int64(3), True, "text", None)},
        }
    )

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    row = json.loads(path.read_text(), parse_constant=refuse)
    assert row == {"loss": 0.5, "nan": None, "array": [1.0, None], "nested": {"x": [None, 3, True, "text", None]}}


@given(done=st.integers(0, 12), lost=st.integers(0, 6), half=st.integers(0, 50))
def test_resumed_file_equals_unbroken_one_byte_for_byte(tmp_path_factory, done, lost, half):
    """Killed `lost` steps after the checkpoint of step `done`, with `half` bytes of one more line on the disk."""
    folder = tmp_path_factory.mktemp("records")
    write_steps(folder / "unbroken", range(1, 15))
    write_steps(folder / "resumed", range(1, done + lost + 1))
    write_steps(folder / "next", [done + lost + 1])
    with open(folder / "resumed", "ab") as file:
        file.write((folder / "next").read_bytes()[:half])
    Records(folder / "resumed").truncate(done)
    write_steps(folder / "resumed", range(done + 1, 15))
    assert (folder / "resumed").read_bytes() == (folder / "unbroken").read_bytes()


def test_truncate_keeps_rows_without_a_step_and_needs_no_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    Records(path).truncate(3)
    assert not path.exists()
    for row in ({"preset": "smoke"}, {"step": 1}, {"step": 2}):
        Records(path).write(row)
    Records(path).truncate(1)
    assert rows(path) == [{"preset": "smoke"}, {"step": 1}]


def test_half_written_line_is_not_a_row(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "lo')
    assert rows(tmp_path / "metrics.jsonl") == [{"step": 1}]


@pytest.mark.parametrize("line", ["{", "3", "\x00\x00", "nonsense"])
def test_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n' + line + '\n{"step": 2}\n')
    for read in (rows, lambda path: Records(path).truncate(1)):
        with pytest.raises(InputError, match="line 2 of .*metrics.jsonl is damaged: expected "):
            read(path)
    assert path.read_text().endswith('{"step": 2}\n')


def test_file_that_cannot_be_read_or_written_is_named(tmp_path):
    with pytest.raises(InputError, match="no metrics at .*nothing: expected the metrics.jsonl of a run"):
        rows(tmp_path / "nothing")
    with pytest.raises(OSError, match="cannot write to .*metrics.jsonl: No such file or directory"):
        Records(tmp_path / "nowhere" / "metrics.jsonl").write({"step": 1})


def test_full_disk_is_one_line(tmp_path):
    try:
        (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
        open("/dev/full", "ab").close()
    except OSError:
        pytest.skip("there is no /dev/full")
    with pytest.raises(OSError, match=r"^cannot write to .*metrics.jsonl: No space left on device$"):
        Records(tmp_path / "metrics.jsonl").write({"step": 1})


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def screen(self) -> list[str]:
        """The lines that stand on the terminal in the end."""
        return [line.split("\r")[-1].replace("\x1b[K", "") for line in self.getvalue().split("\n")]

    def drawings(self) -> int:
        return self.getvalue().count("\r")


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def ran(file, epochs=3, steps_per_epoch=10, seconds=1.0, compiling=100.0, first=0, last=None, clock=None, **columns):
    """The progress of steps that take `seconds` each, the first `compiling` seconds more."""
    clock = clock or Clock()
    progress = Progress(Timetable(((epochs, steps_per_epoch),)), file=file, clock=clock)
    clock.now += compiling
    for step in range(first + 1, (last or epochs * steps_per_epoch) + 1):
        clock.now += seconds
        progress.update(step, **columns)
    return progress


@pytest.mark.parametrize(
    ("first", "last", "line"),
    [
        (0, 1, "epoch 1/3  3 %  - steps/s  -:--:-- left"),
        (0, 10, "epoch 1/3  33 %  4 steps/s  0:00:05 left"),
        (0, 11, "epoch 2/3  37 %  4 steps/s  0:00:05 left"),
        (0, 30, "epoch 3/3  100 %  4 steps/s  0:00:00 left"),
        (20, 21, "epoch 3/3  70 %  - steps/s  -:--:-- left"),
        (20, 25, "epoch 3/3  83 %  4 steps/s  0:00:01 left"),
    ],
)
def test_line_says_epoch_share_rate_and_time_left(first, last, line):
    """The step that compiles does not count, neither at the start nor after a resume."""
    terminal = Terminal()
    ran(terminal, seconds=0.25, first=first, last=last)
    assert terminal.screen() == [line]


def test_time_left_follows_the_recent_rate():
    clock, terminal = Clock(), Terminal()
    progress = Progress(Timetable(((1, 10_000),)), file=terminal, clock=clock)
    for step in range(1, 2001):
        clock.now += 1 if step <= 1000 else 10
        progress.update(step)
    assert terminal.screen() == ["epoch 1/1  20 %  10 s/step  22:13:20 left"]


@pytest.mark.parametrize(
    ("last", "line"),
    [
        (10, "epoch 1/3  33 %  1 steps/s  0:00:00 left, then 20 children"),
        (11, "epoch 2/3  37 %  - steps/s  -:--:-- left"),
        (15, "epoch 2/3  50 %  10 s/step  0:02:30 left"),
        (30, "epoch 3/3  100 %  10 s/step  0:00:00 left"),
    ],
)
def test_the_time_left_of_a_phase_follows_the_rate_of_its_own_steps(last, line):
    clock, terminal = Clock(), Terminal()
    progress = Progress(Timetable(((1, 10), (2, 10)), ("steps", "children")), file=terminal, clock=clock)
    for step in range(1, last + 1):
        clock.now += 1 if step <= 10 else 10
        progress.update(step)
    assert terminal.screen() == [line]


def test_columns_are_formatted_and_stay_until_given_anew():
    terminal, clock = Terminal(), Clock()
    progress = ran(terminal, last=9, clock=clock, loss=jnp.float32(1.23456), val_accuracy=0.567, skips=3, R=-1.5e-5, hidden=None)
    clock.now += 1
    progress.update(10, loss=math.nan, lr=2.5e-2)
    columns = "loss nan  val accuracy 56.7 %  skips 3  R -1.50e-05  lr 0.025"
    assert terminal.screen() == [f"epoch 1/3  33 %  1 steps/s  0:00:20 left  {columns}"]


def test_values_are_read_only_when_a_line_is_drawn():
    class Unready:
        def tolist(self):
            raise AssertionError("waited for the device")

    clock = Clock()
    progress = Progress(Timetable(((1, 100),)), file=io.StringIO(), clock=clock)
    for step in range(1, 50):
        progress.update(step, loss=Unready())


def test_terminal_is_redrawn_at_most_five_times_a_second():
    terminal = Terminal()
    ran(terminal, epochs=1, steps_per_epoch=1000, seconds=0.01)
    assert 40 <= terminal.drawings() <= 51
    assert len(terminal.screen()) == 1


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (200, "epoch 3/3  100 %  1 steps/s  0:00:00 left  loss 1.000  acc 50.0 %  robustness -0.250"),
        (85, "epoch 3/3  100 %  1 steps/s  0:00:00 left  loss 1.000  acc 50.0 %  robustness -0.250"),
        (84, "epoch 3/3 100% 1 steps/s 0:00:00 left loss 1.000 acc 50.0% robustness -0.250"),
        (70, "epoch 3/3 100% 1 steps/s 0:00:00 left loss 1.000 acc 50.0%"),
        (50, "epoch 3/3 100% 1 steps/s 0:00:00 left loss 1.000"),
        (12, "epoch 3/3"),
        (6, "epoch"),
        (1, ""),
    ],
)
def test_line_never_wraps_and_drops_whole_columns(monkeypatch, width, line):
    monkeypatch.setenv("COLUMNS", str(width))
    terminal = Terminal()
    ran(terminal, loss=1.0, acc=0.5, robustness=-0.25)
    assert terminal.screen() == [line]
    assert len(line) < width


def test_file_gets_a_plain_line_an_epoch():
    file = io.StringIO()
    ran(file, seconds=0.1, compiling=5, loss=0.5)
    assert file.getvalue().splitlines() == [
        "epoch 1/3  33 %  10 steps/s  0:00:02 left  loss 0.500",
        "epoch 2/3  67 %  10 steps/s  0:00:01 left  loss 0.500",
        "epoch 3/3  100 %  10 steps/s  0:00:00 left  loss 0.500",
    ]


def test_file_gets_a_line_after_20_seconds_of_silence():
    file = io.StringIO()
    ran(file, epochs=2, steps_per_epoch=50, compiling=0)
    shares = [line.split()[2] for line in file.getvalue().splitlines()]
    assert shares == ["20", "40", "50", "70", "90", "100"]


def test_note_stands_above_the_live_line():
    terminal, clock = Terminal(), Clock()
    with ran(terminal, last=10, clock=clock) as progress:
        assert terminal.screen() == ["epoch 1/3  33 %  1 steps/s  0:00:20 left"]
        progress.note("saved")
        assert terminal.screen() == ["saved", "epoch 1/3  33 %  1 steps/s  0:00:20 left"]
        clock.now += 1
        progress.update(11)
    assert terminal.screen() == ["saved", "epoch 2/3  37 %  1 steps/s  0:00:19 left", ""]


def test_note_in_a_file_is_a_line():
    file = io.StringIO()
    with Progress(Timetable(((1, 1),)), file=file) as progress:
        progress.note("compiling")
    assert file.getvalue() == "compiling\n"


def test_error_in_the_block_leaves_the_line_and_passes():
    terminal = Terminal()
    with pytest.raises(FloatingPointError), ran(terminal, last=10):
        raise FloatingPointError("loss is not finite")
    assert terminal.getvalue().endswith("left\n")
