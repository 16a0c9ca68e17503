"""The example experiments and rigs that come with labctl."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from labctl.contract.errors import InputError

DRIVER_FILES = ("pyproject.toml", "our_chamber.py", "test_our_chamber.py")


def examples_folder() -> Path:
    """Return where the examples lie: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def copy_examples(target: Path) -> list[Path]:
    """Copy the examples into `target`, which is made if need be, and return the copies.

    Raises `InputError` naming a file that is already there; nothing is copied then.
    """
    return _copied(examples_folder(), ("*.yaml",), target)


def copy_driver_template(target: Path) -> list[Path]:
    """Copy a package with a driver, to be changed into one's own, as `copy_examples` does."""
    return _copied(examples_folder() / "driver", DRIVER_FILES, target)


def _copied(source: Path, patterns: Sequence[str], target: Path) -> list[Path]:
    files = sorted(file.relative_to(source) for pattern in patterns for file in source.rglob(pattern))
    present = [target / file for file in files if (target / file).exists()]
    if present:
        raise InputError(f"{present[0]} exists already; give an empty folder, nothing was copied")
    try:
        for file in files:
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, target / file)
    except OSError as error:
        raise InputError(f"they cannot be copied to {target}: {error}") from error
    return [target / file for file in files]
