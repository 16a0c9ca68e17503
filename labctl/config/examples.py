"""The example experiments and rigs that come with labctl."""

import shutil
from pathlib import Path

from labctl.contract.errors import InputError


def examples_folder() -> Path:
    """Return where the examples lie: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def copy_examples(target: Path) -> list[Path]:
    """Copy the examples into `target`, which is made if need be, and return the copies.

    Raises `InputError` naming a file that is already there; nothing is copied then.
    """
    source = examples_folder()
    files = sorted(file.relative_to(source) for file in source.rglob("*.yaml"))
    present = [target / file for file in files if (target / file).exists()]
    if present:
        raise InputError(f"{present[0]} exists already; give an empty folder, nothing was copied")
    try:
        for file in files:
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, target / file)
    except OSError as error:
        raise InputError(f"the examples cannot be copied to {target}: {error}") from error
    return [target / file for file in files]
