"""What a run says while it goes: the same facts on a terminal, in lines, and in the log file."""

import io
import logging
from pathlib import Path

import pytest
from rich.console import Console

from labctl.monitor import logfile
from labctl.monitor.live import LiveMonitor
from labctl.monitor.logfile import log_file
from labctl.monitor.progress import PlainMonitor, Progress, duration
from labctl.orchestrator.counters import Counters
from labctl.orchestrator.plan import Plan

PLAN = Plan("joint", training_passes=9000, test_passes=1000, hardware_s=10_000.0, disk_bytes=1)


class Watch:
    """A clock that is set by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (360_000, "100.0 h")],
)
def test_durations_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_progress_tells_epoch_figures_passes_and_hardware_time_left() -> None:
    progress = Progress(PLAN, epochs=6, recorded=0)
    progress.rows(Counters(sent=2500))
    progress.epoch = 2
    progress.metrics = {"block1.loss": 0.3, "block1.pairs_right": 0.876, "block2.pairs_right": 0.91}
    expected = "epoch 2/6  pairs right 91.0 %  passes 2,500/10,000  hardware time left 2.1 h"
    assert str(progress) == expected
    progress.metrics["train_accuracy"] = 0.987
    assert "training accuracy 98.7 %" in str(progress)
    assert "pairs right" not in str(progress)


def test_recorded_passes_count_and_repeats_never_exceed_the_plan() -> None:
    progress = Progress(PLAN, epochs=6, recorded=4000)
    progress.rows(Counters(sent=1000))
    assert progress.passes == 5000
    assert progress.hardware_left_s == pytest.approx(5000)
    progress.rows(Counters(sent=7000))
    assert progress.passes == 10_000
    assert progress.hardware_left_s == 0
    progress.testing = True
    assert str(progress) == "test  passes 10,000/10,000  hardware time left 0 s"


def test_lines_come_with_every_epoch_and_when_the_last_is_old() -> None:
    lines: list[str] = []
    watch = Watch()
    monitor = PlainMonitor(Progress(PLAN, epochs=2, recorded=0), lines.append, watch, every_s=30)
    for second in range(1, 100):
        watch.now_s = second
        monitor.rows_done(Counters(sent=second))
    assert [line.split("  ")[1] for line in lines] == [f"passes {n}/10,000" for n in (30, 60, 90)]
    monitor.epoch_done(1, {"train_accuracy": 0.5})
    monitor.test_begins()
    assert lines[3].startswith("epoch 1/2  training accuracy 50.0 %  passes 99/10,000")
    assert lines[4].startswith("test  ")
    watch.now_s = 120
    monitor.rows_done(Counters(sent=100))
    assert len(lines) == 5


def test_a_terminal_shows_the_same_words_beside_a_bar() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160, color_system=None)
    with LiveMonitor(Progress(PLAN, epochs=2, recorded=5000), console) as monitor:
        monitor.rows_done(Counters(sent=1000))
        monitor.epoch_done(1, {"train_accuracy": 0.5})
        monitor.test_begins()
    assert "test  training accuracy 50.0 %  passes 6,000/10,000  hardware time left 67 min" in screen.getvalue()


def test_the_log_file_says_at_which_pass_of_which_run_something_happened(tmp_path: Path) -> None:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    driver = logging.getLogger("labctl_drivers.vendor")
    folder = tmp_path / "2026-01-01T00-00-00-demo"
    folder.mkdir()
    with log_file(folder) as passes:
        driver.info("connected")
        passes.rows_done(Counters(last_id=41))
        driver.warning("gain is low")
        driver.debug("not for the file")
    driver.warning("after the run")
    lines = (folder / "run.log").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [
        "INFO run=2026-01-01T00-00-00-demo pass=- labctl_drivers.vendor: connected",
        "WARNING run=2026-01-01T00-00-00-demo pass=41 labctl_drivers.vendor: gain is low",
    ]
    assert (root.level, root.handlers) == (level, handlers)


def test_a_resumed_run_adds_to_its_log_file(tmp_path: Path) -> None:
    for message in ("first", "second"):
        with log_file(tmp_path):
            logging.getLogger("labctl").info(message)
    lines = (tmp_path / "run.log").read_text(encoding="utf-8").splitlines()
    assert [line.rsplit(": ")[-1] for line in lines] == ["first", "second"]


def test_a_talkative_night_fills_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logfile, "LARGEST_BYTES", 2_000)
    lines = 300
    with log_file(tmp_path):
        for number in range(lines):
            logging.getLogger("labctl_drivers.vna").warning("sweep %04d was repeated", number)
    logs = sorted(tmp_path.glob("run.log*"))
    assert [log.name for log in logs] == ["run.log", *(f"run.log.{number}" for number in range(1, logfile.KEPT + 1))]
    assert all(log.stat().st_size <= 2_000 for log in logs)
    kept = "".join(log.read_text(encoding="utf-8") for log in [*reversed(logs[1:]), logs[0]])
    numbers = [int(line.split("sweep ")[1][:4]) for line in kept.splitlines()]
    assert numbers == list(range(lines - len(numbers), lines)), "the newest, in order, and none between them is lost"
