"""From paths to everything an experiment consists of: the experiment file and the rig files it names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from labctl.config.document import Document
from labctl.config.errors import closest
from labctl.config.experiment import EXPERIMENT_SCHEMA, Experiment
from labctl.config.rig import RIG_SCHEMA, RigFile

MAIN_RIG = "main"


@dataclass(frozen=True)
class LoadedRig:
    """A rig file and the document it was read from."""

    rig: RigFile
    document: Document


@dataclass(frozen=True)
class LoadedExperiment:
    """An experiment, the document it was read from, and its rigs by role."""

    experiment: Experiment
    document: Document
    rigs: Mapping[str, LoadedRig]


def load_experiment(path: Path, overrides: Iterable[str] = (), rig: Path | None = None) -> LoadedExperiment:
    """Read an experiment file and the rig files it names.

    `overrides` are the arguments of `--set`; `rig` is the file to use as the main rig instead of the one named, and
    unlike that one is relative to the working directory. Raises `ConfigError`.
    """
    experiment, document = _experiment(Document.read(path), overrides)
    return LoadedExperiment(experiment, document, _rigs(experiment, document, rig))


def experiment_from_text(
    text: str,
    path: Path,
    folder: Path,
    overrides: Iterable[str] = (),
    rigs: Mapping[str, LoadedRig] | None = None,
) -> LoadedExperiment:
    """Read an experiment from a stored copy.

    `path` is what messages call it and `folder` what its paths are relative to. `rigs` are the rigs stored beside it
    (see `rig_from_text`); without them the rig files are read as they are now. Raises `ConfigError`.
    """
    experiment, document = _experiment(Document.parse(text, path, folder), overrides)
    return LoadedExperiment(experiment, document, _rigs(experiment, document, None) if rigs is None else rigs)


def load_rig(path: Path) -> LoadedRig:
    """Read a rig file. Raises `ConfigError`."""
    return _rig(Document.read(path))


def rig_from_text(text: str, path: Path, folder: Path) -> LoadedRig:
    """Read a rig from a stored copy; see `experiment_from_text`. Raises `ConfigError`."""
    return _rig(Document.parse(text, path, folder))


def resolve_path(folder: Path, text: str) -> Path:
    """Return the file that `text` names in a document whose paths are relative to `folder`."""
    return folder / Path(text).expanduser()


def _experiment(document: Document, overrides: Iterable[str]) -> tuple[Experiment, Document]:
    document.require_schema(EXPERIMENT_SCHEMA)
    document = document.with_overrides(overrides)
    return document.validate(Experiment), document


def _rig(document: Document) -> LoadedRig:
    document.require_schema(RIG_SCHEMA)
    return LoadedRig(document.validate(RigFile), document)


def _rigs(experiment: Experiment, document: Document, main: Path | None) -> dict[str, LoadedRig]:
    """Read the rigs by role, `main` in place of the main rig's own file."""
    if main is not None and MAIN_RIG not in experiment.rigs:
        roles = ", ".join(experiment.rigs)
        raise document.error(
            ("rigs",), f'no rig here has the role "{MAIN_RIG}", which --rig replaces; there are: {roles}'
        )
    return {
        role: load_rig(main) if main is not None and role == MAIN_RIG else _named_rig(document, role, text)
        for role, text in experiment.rigs.items()
    }


def _named_rig(document: Document, role: str, text: str) -> LoadedRig:
    path = resolve_path(document.folder, text)
    if not path.is_file():
        keys = ("rig",) if "rig" in document.data else ("rigs", role)
        slip = closest(path.name, [file.name for file in path.parent.glob("*.y*ml")])
        hint = f'did you mean "{slip}"?' if slip else "expected a rig file, relative to this one"
        raise document.error(keys, f"there is no file {path}; {hint}")
    return load_rig(path)
