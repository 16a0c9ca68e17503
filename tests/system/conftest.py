"""An operator's desk: the labctl executable, a small bench, and an experiment on it."""

import csv
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import pytest

from labctl.cli.main import main

EXECUTABLE = Path(sys.executable).with_name("labctl")
PATIENCE_S = 250.0

RIG = """\
schema: labctl/rig/1
name: desk
time_scale: instant

instruments:
  interface:
    driver: audio.simulated
    samplerate: 8 kHz
    speakers:
      north: {max_level: -12 dBFS}
      east: {max_level: -12 dBFS}
      south: {max_level: -12 dBFS}
    microphones: [mic-a, mic-b, mic-c]
    box: {length: 1.0 m, width: 0.8 m, height: 0.6 m, absorption: 0.5, temperature: 20 °C}
    noise: -80 dBFS
    seed: 1

layers:
  cavity:
    kind: acoustic
    interface: interface
    tones: [200 Hz, 300 Hz, 400 Hz, 500 Hz, 600 Hz, 700 Hz, 800 Hz]
    settle: 40 ms
    window: 100 ms
    gap: 60 ms
    polarity: signed
"""

EXPERIMENT = """\
schema: labctl/experiment/1
name: wine
rig: desk.yaml
seed: 7
data: {source: csv, path: wine.csv, label: cultivar, test_fraction: 0.25}
network:
  label: {kind: one-hot, amplitude: 1.0}
  blocks:
    - {layer: cavity, encoder: {kind: fitted-range, mix: orthogonal}, skip: true, units: 30}
training: {rule: phyll, schedule: cached, epochs: 10, batch: 20, theta: 10, optimizer: {kind: adam, lr: 5e-3}}
record: {commit_every: 20 ms}
report: {baselines: [], page: false}
"""


@dataclass(frozen=True)
class Answer:
    """What a command printed and the code it ended with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Labctl:
    """The labctl executable, used in `folder`."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    started: list[subprocess.Popen[str]] = field(default_factory=list[subprocess.Popen[str]])

    def __call__(self, *arguments: str | Path, code: int = 0, prefix: tuple[str, ...] = ()) -> Answer:
        """Run a command to its end, which must be `code`; no traceback is ever shown."""
        done = subprocess.run(
            [*prefix, *self.command(*arguments)],
            cwd=self.folder,
            env=self.variables(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return _checked(Answer(done.returncode, done.stdout, done.stderr), code)

    def quick(self, *arguments: str | Path, code: int | None = 0) -> Answer:
        """Run a command in this process, which saves starting one: for those that only read, or refuse.

        It must end with `code`, or as it likes for None.
        An error that has no message for people comes through as the exception it is.
        """
        out, err = io.StringIO(), io.StringIO()
        with (
            patch.object(sys, "argv", ["labctl", *map(str, arguments)]),
            chdir(self.folder),
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as left,
        ):
            main()
        assert isinstance(left.value.code, int)
        answer = Answer(left.value.code, out.getvalue(), err.getvalue())
        return answer if code is None else _checked(answer, code)

    def start(self, *arguments: str | Path) -> "Going":
        """Start a command and return while it goes."""
        process = subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # as in a terminal, were this under nohup
        )
        self.started.append(process)
        return Going(process, self)

    def kill(self) -> None:
        """End what was started and is still going."""
        for process in self.started:
            process.kill()
            process.communicate()

    def runs(self) -> list[Path]:
        """Return the folders of all runs, oldest first."""
        return sorted(self.folder.glob("runs/[0-9]*/"))

    def command(self, *arguments: str | Path) -> list[str]:
        """Return what a shell would be told."""
        return [str(EXECUTABLE), *map(str, arguments)]

    def variables(self) -> dict[str, str]:
        """Return the environment of every command."""
        return {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", **self.environment}


@dataclass(frozen=True)
class Going:
    """A command that is going on."""

    process: subprocess.Popen[str]
    labctl: Labctl

    def until_passes(self, least: int) -> int:
        """Wait until the newest run has recorded at least this many passes and return how many."""
        return self.until(lambda: (n := passes_of(self.newest_run())) >= least and n)

    def until(self, reached: Callable[[], int | bool]) -> int:
        """Wait until `reached` returns something true, and return it; the command must go on meanwhile."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := reached()):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return int(value)

    def newest_run(self) -> Path:
        """Return the run folder that was made last, or one that is not there."""
        return next(reversed(self.labctl.runs()), self.labctl.folder / "no-run")

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def ends(self, code: int) -> Answer:
        """Wait for the end, which must be `code`."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return _checked(Answer(self.process.returncode, out, err), code)


def _checked(answer: Answer, code: int) -> Answer:
    assert answer.code == code, answer
    assert "Traceback" not in answer.err, answer.err
    return answer


def passes_of(run: Path) -> int:
    """Return the number of passes on disk, read as any SQLite program does."""
    try:
        connection = sqlite3.connect(f"{(run / 'run.sqlite').as_uri()}?mode=ro", uri=True)
    except sqlite3.OperationalError:
        return 0
    try:
        (count,) = connection.execute("SELECT count(*) FROM passes").fetchone()
        return int(count)
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return everything in a folder: files by name with their content, folders with None."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


Tree = Callable[[Path], dict[str, bytes | None]]


@pytest.fixture
def tree_of() -> Tree:
    """Say what a folder holds, to compare before and after."""
    return tree


@pytest.fixture(scope="session")
def wine_csv() -> str:
    """The 178 wines that come with scikit-learn as a table: 13 properties and the cultivar."""
    from sklearn.datasets import load_wine

    wine = cast("Any", load_wine())
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*wine.feature_names, "cultivar"])
    names = ("barolo", "grignolino", "barbera")
    table.writerows([*row, names[number]] for row, number in zip(wine.data.tolist(), wine.target, strict=True))
    return text.getvalue()


@pytest.fixture
def desk(tmp_path: Path, wine_csv: str) -> Path:
    """A folder with the rig desk.yaml, the experiment wine.yaml and its data wine.csv."""
    return _laid(tmp_path, wine_csv)


@pytest.fixture
def labctl(desk: Path) -> Iterator[Labctl]:
    """The labctl executable, used at the desk."""
    executable = Labctl(desk)
    yield executable
    executable.kill()


@pytest.fixture(scope="session")
def labctl_at(wine_csv: str) -> Callable[[Path], Labctl]:
    """Lay a desk in any folder; return the labctl executable, used there."""
    return lambda folder: Labctl(_laid(folder, wine_csv))


@pytest.fixture(scope="session")
def _finished_desk(tmp_path_factory: pytest.TempPathFactory, wine_csv: str) -> Path:
    folder = _laid(tmp_path_factory.mktemp("desk"), wine_csv)
    Labctl(folder)("run", "wine.yaml", "--json")
    return folder


@pytest.fixture
def run(_finished_desk: Path, desk: Path) -> Path:
    """A finished run of wine.yaml at the desk; made once and copied for every story."""
    (folder,) = _finished_desk.glob("runs/*/")
    return Path(shutil.copytree(folder, desk / "runs" / folder.name))


def _laid(folder: Path, wine_csv: str) -> Path:
    (folder / "wine.csv").write_text(wine_csv, encoding="utf-8")
    (folder / "desk.yaml").write_text(RIG, encoding="utf-8")
    (folder / "wine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    return folder
