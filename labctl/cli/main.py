"""The `labctl` command: finds the command's module, runs it, and turns errors into one message and an exit code."""

import importlib
import sys
from typing import NoReturn

import click
from typing_extensions import override

EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_INSTRUMENT = 3
EXIT_RECORD = 4
EXIT_STOPPED = 5
EXIT_INTERRUPTED = 130

COMMANDS = {
    "init": "Copy the example experiments and rigs, or a driver's template, into a folder.",
    "run": "Train what an experiment file describes.",
    "resume": "Go on with a run that was stopped or crashed.",
    "replay": "Train again from a run's recorded passes, without hardware.",
    "status": "Say where a run stands.",
    "stop": "End a run that goes on elsewhere.",
    "queue": "Run experiments one after another.",
    "compare": "Train the same experiment by several learning rules, and compare them.",
    "evaluate": "Measure a trained run's accuracy with fresh passes.",
    "predict": "Classify new samples with a trained run.",
    "validate": "Check an experiment or rig file without touching hardware.",
    "doctor": "Look after every instrument and layer of a rig, one by one.",
    "calibrate": "Measure what the instruments and layers of a rig must know of themselves.",
    "simulate": "Let virtual instruments answer in place of those of a rig.",
    "report": "Write a run's HTML page again.",
    "runs": "List, show, compare, export and verify runs.",
    "schema": "Print the JSON schema of experiment or rig files.",
}


class Commands(click.Group):
    """Imports a command's module only when that command is used, so that `--help` is quick."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order a newcomer meets them."""
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"labctl.cli.{cmd_name}").command
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one was probably meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f'did you mean "{close[0]}"?' if close else "see `labctl --help`"
            ctx.fail(f'no command "{args[0]}"; {hint}')
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="labctl")
def labctl() -> None:
    """Train deep physical neural networks on real instruments."""


def main() -> NoReturn:
    """Run the command line and exit; the codes are listed in docs/reference/exit-codes.md."""
    try:
        code = labctl.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _leave("labctl: stopped at once", EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - what has no message for people is raised again
        _leave(*_explain(error))
    sys.exit(code if isinstance(code, int) else 0)


def _explain(error: Exception) -> tuple[str, int]:
    """Return message and exit code of an error meant for people; any other is a defect and goes on as it is.

    A message about a file begins with its place, as compilers' do, so that editors and build servers find it.
    """
    from labctl.config.errors import ConfigError
    from labctl.contract.errors import InputError, InstrumentError, LabctlError, RecordError

    codes = {
        InputError: EXIT_INPUT,
        InstrumentError: EXIT_INSTRUMENT,
        RecordError: EXIT_RECORD,
        LabctlError: EXIT_FAILED,
    }
    for kind, code in codes.items():
        if isinstance(error, kind):
            message = "; ".join([str(error), *getattr(error, "__notes__", ())])
            return message if isinstance(error, ConfigError) else f"labctl: {message}", code
    if isinstance(error, MemoryError):
        return f"labctl: not enough memory: {error}", EXIT_FAILED
    raise error


def _leave(message: str, code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)
