"""Errors a person can act on: each says what is wrong, where, and what to do.

The command line turns the classes into exit codes (see `docs/reference/exit-codes.md`); a driver or simulator
raises `SettingError`, `DriveError` and `InstrumentError` and nothing of its own.
"""

from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum

SettingKeys = tuple[str | int, ...]
"""The way to a setting from the mapping of its part, by the keys and list indices a person writes."""


class LabctlError(Exception):
    """Base of every error that is shown to a person as one message without a traceback."""


class InputError(LabctlError):
    """Something a person wrote or named is wrong; nothing has been sent to hardware and nothing written."""


class SettingError(InputError, ValueError):
    """A setting that cannot work. `at` leads to it, so that the message can name its line.

    A driver's `build` raises it; so may a validator of a settings model, to whom it is the `ValueError` it must raise.
    """

    def __init__(self, at: SettingKeys, message: str) -> None:
        self.at = at
        super().__init__(message)


@contextmanager
def blaming(*at: str | int) -> Generator[None]:
    """Raise a `ValueError` of the body as a `SettingError` at `at`, a `SettingError` as one below `at`."""
    try:
        yield
    except ValueError as error:
        below = error.at if isinstance(error, SettingError) else ()
        raise SettingError((*at, *below), str(error)) from error


class DriveError(InputError):
    """A drive lies outside what the layer accepts; no row of the request has been sent."""


class Fault(StrEnum):
    """What waiting may do about the failure of an instrument; a rig file says how patiently each is met."""

    FAILED = "failed"
    """It is silent, gone, or does not work: it may be back when it is opened again."""

    NOT_READY = "not ready"
    """It answers and says that it needs time: to cool, to warm up, to lock."""

    REJECTED = "rejected"
    """It works, and what it measures is no good: something outside disturbs it, or a level is wrong."""

    REFUSED = "refused"
    """It is not what the rig's file says, or will not do what it is told: waiting changes nothing."""


class InstrumentError(LabctlError):
    """An instrument or its link failed.

    `instrument` is the name in the rig file, `cause` the likely reason, `command` what was being done.
    """

    def __init__(self, instrument: str, cause: str, *, command: str | None = None, fault: Fault = Fault.FAILED) -> None:
        self.instrument = instrument
        self.cause = cause
        self.command = command
        self.fault = fault
        during = f" during {command}" if command else ""
        super().__init__(f"{instrument}: {cause}{during}")


class RecordError(LabctlError):
    """A run folder or its pass log is damaged, incomplete or belongs to something else."""
