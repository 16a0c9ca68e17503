"""Errors become one message and a documented exit code; a defect stays a traceback."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click
import pytest

from labctl.cli.conduct import resumable
from labctl.cli.main import labctl, main
from labctl.config.errors import ConfigError, Position, Problem
from labctl.contract.errors import DriveError, InputError, InstrumentError, LabctlError, RecordError
from labctl.orchestrator.stopping import ASKED, Stopped

Fails = Callable[[BaseException], None]


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Fails:
    """Let `labctl init` raise an error."""

    def with_error(error: BaseException) -> None:
        def command() -> NoReturn:
            raise error

        def get_command(ctx: click.Context, cmd_name: str) -> click.Command:
            return click.Command(cmd_name, callback=command)

        monkeypatch.setattr(labctl, "get_command", get_command)
        monkeypatch.setattr(sys, "argv", ["labctl", "init"])

    return with_error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("no such run"), 2, "labctl: no such run"),
        (DriveError("0.3 V is outside"), 2, "labctl: 0.3 V is outside"),
        (ConfigError([Problem(Position("a.yaml", 3, 4), "not so")]), 2, "a.yaml:3:4: not so"),
        (InstrumentError("vna", "no answer", command="*IDN?"), 3, "labctl: vna: no answer during *IDN?"),
        (RecordError("damaged"), 4, "labctl: damaged"),
        (LabctlError("something else"), 1, "labctl: something else"),
        (MemoryError("9 TB"), 1, "labctl: not enough memory: 9 TB"),
        (KeyboardInterrupt(), 130, "labctl: stopped at once"),
        (click.UsageError("use it so"), 2, "Error: use it so"),
    ],
)
def test_an_error_has_a_code(
    fails: Fails, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    fails(error)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == code
    printed = capsys.readouterr()
    assert printed.err.strip().splitlines()[-1] == said
    assert printed.out == ""


def test_a_defect_is_not_hidden(fails: Fails) -> None:
    fails(ZeroDivisionError("a defect"))
    with pytest.raises(ZeroDivisionError):
        main()


def test_success_is_zero(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["labctl", "schema", "experiment"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("{")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Stopped(ASKED), 5, "stopped; every pass is recorded. Go on with: labctl resume runs/x\n"),
        (
            Stopped("it is late"),
            5,
            "stopped, as it is late; every pass is recorded. Go on with: labctl resume runs/x\n",
        ),
        (KeyboardInterrupt(), 130, "stopped at once; what is recorded is whole. Go on with: labctl resume runs/x\n"),
    ],
)
def test_a_run_that_was_stopped_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    with pytest.raises(SystemExit) as left, resumable(Path("runs/x"), None):
        raise error
    assert left.value.code == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("error", [InstrumentError("vna", "unplugged"), RecordError("disk full")])
def test_a_run_that_failed_says_how_to_go_on(
    fails: Fails, capsys: pytest.CaptureFixture[str], error: LabctlError
) -> None:
    with pytest.raises(LabctlError) as caught, resumable(Path("runs/x"), None):
        raise error
    fails(caught.value)
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err == f"labctl: {error}; go on afterwards with: labctl resume runs/x\n"


def test_input_that_is_wrong_is_not_worth_resuming() -> None:
    error = InputError("no")
    with pytest.raises(InputError), resumable(Path("runs/x"), None):
        raise error
    assert not hasattr(error, "__notes__")
