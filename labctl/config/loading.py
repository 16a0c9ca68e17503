"""From paths to everything an experiment consists of: the experiment file and the rig files it names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from labctl.config.document import Document
from labctl.config.errors import ConfigError, Position, Problem, closest
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

    `overrides` are the arguments of `--set`, of which `rig.KEY=VALUE` and `rigs.ROLE.KEY=VALUE` go on into a rig file;
    `rig` is the file to use as the main rig instead of the one named, and unlike that one is relative to the working
    directory. Raises `ConfigError`.
    """
    own, of_rigs = _by_file(overrides)
    experiment, document = _experiment(Document.read(path), own)
    return LoadedExperiment(experiment, document, _changed(_rig_documents(experiment, document, rig), of_rigs))


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
    own, of_rigs = _by_file(overrides)
    experiment, document = _experiment(Document.parse(text, path, folder), own)
    if rigs is None:
        documents = _rig_documents(experiment, document, None)
    else:
        documents = {role: rig.document for role, rig in rigs.items()}
    return LoadedExperiment(experiment, document, _changed(documents, of_rigs))


def load_rig(path: Path, overrides: Iterable[str] = ()) -> LoadedRig:
    """Read a rig file; `overrides` are the arguments of `--set`. Raises `ConfigError`."""
    return _rig(Document.read(path), overrides)


def rig_from_text(text: str, path: Path, folder: Path, overrides: Iterable[str] = ()) -> LoadedRig:
    """Read a rig from a stored copy; see `experiment_from_text`. Raises `ConfigError`."""
    return _rig(Document.parse(text, path, folder), overrides)


def resolve_path(folder: Path, text: str) -> Path:
    """Return the file that `text` names in a document whose paths are relative to `folder`."""
    return folder / Path(text).expanduser()


def _experiment(document: Document, overrides: Iterable[str]) -> tuple[Experiment, Document]:
    document.require_schema(EXPERIMENT_SCHEMA)
    document = document.with_overrides(overrides)
    return document.validate(Experiment), document


def _rig(document: Document, overrides: Iterable[str]) -> LoadedRig:
    document.require_schema(RIG_SCHEMA)
    for assignment in overrides:
        _, within = _rig_of(assignment) or (MAIN_RIG, "")
        document = document.with_overrides([assignment], within)
    return LoadedRig(document.validate(RigFile), document)


def _by_file(overrides: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the assignments to keys of the experiment, and those that go on into a rig file."""
    assignments = list(overrides)
    of_rigs = [assignment for assignment in assignments if _rig_of(assignment)]
    return [assignment for assignment in assignments if assignment not in of_rigs], of_rigs


def _rig_of(assignment: str) -> tuple[str, str] | None:
    """Return the role of the rig that an assignment leads into, and how its path begins before it is there."""
    first, *others = assignment.partition("=")[0].split(".")
    if first == "rig" and others:
        return MAIN_RIG, "rig."
    if first == "rigs" and len(others) > 1:
        return others[0], f"rigs.{others[0]}."
    return None


def _changed(documents: Mapping[str, Document], overrides: Iterable[str]) -> dict[str, LoadedRig]:
    """Return the rigs by role, each with its own of the `overrides`."""
    own: dict[str, list[str]] = {role: [] for role in documents}
    for assignment in overrides:
        role, _ = _rig_of(assignment) or (MAIN_RIG, "")
        if role not in own:
            what = f'no rig here has the role "{role}"; there are: {", ".join(own)}'
            raise ConfigError([Problem(Position(f"--set {assignment}"), what)])
        own[role].append(assignment)
    return {role: _rig(document, own[role]) for role, document in documents.items()}


def _rig_documents(experiment: Experiment, document: Document, main: Path | None) -> dict[str, Document]:
    """Read the rig files by role, `main` in place of the main rig's own."""
    if main is not None and MAIN_RIG not in experiment.rigs:
        roles = ", ".join(experiment.rigs)
        raise document.error(
            ("rigs",), f'no rig here has the role "{MAIN_RIG}", which --rig replaces; there are: {roles}'
        )
    return {
        role: Document.read(main) if main is not None and role == MAIN_RIG else _named_rig(document, role, text)
        for role, text in experiment.rigs.items()
    }


def _named_rig(document: Document, role: str, text: str) -> Document:
    path = resolve_path(document.folder, text)
    if not path.is_file():
        keys = ("rig",) if "rig" in document.data else ("rigs", role)
        slip = closest(path.name, [file.name for file in path.parent.glob("*.y*ml")])
        hint = f'did you mean "{slip}"?' if slip else "expected a rig file, relative to this one"
        raise document.error(keys, f"there is no file {path}; {hint}")
    return Document.read(path)
