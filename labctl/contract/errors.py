"""Errors a person can act on: each says what is wrong, where, and what to do.

The command line turns the classes into exit codes (see `docs/reference/exit-codes.md`); a driver or simulator
raises `DriveError` and `InstrumentError` and nothing of its own.
"""


class LabctlError(Exception):
    """Base of every error that is shown to a person as one message without a traceback."""


class InputError(LabctlError):
    """Something a person wrote or named is wrong; nothing has been sent to hardware and nothing written."""


class DriveError(InputError):
    """A drive lies outside what the layer accepts; no row of the request has been sent."""


class InstrumentError(LabctlError):
    """An instrument or its link failed.

    `instrument` is the name in the rig file, `cause` the likely reason, `command` what was being done.
    """

    def __init__(self, instrument: str, cause: str, *, command: str | None = None) -> None:
        self.instrument = instrument
        self.cause = cause
        self.command = command
        during = f" during {command}" if command else ""
        super().__init__(f"{instrument}: {cause}{during}")


class RecordError(LabctlError):
    """A run folder or its pass log is damaged, incomplete or belongs to something else."""
