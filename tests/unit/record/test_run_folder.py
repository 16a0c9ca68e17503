"""Run folders: made whole, found by what people type, listed whatever their state."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from labctl.contract.errors import InputError, RecordError
from labctl.record.folder import LOG_NAME, create_run_folder, find_run, list_runs
from labctl.record.passes import PassRows
from labctl.record.schema import create_file
from labctl.record.writer import PassLog

NOW = datetime(2026, 11, 22, 3, 40, 12)

MakeRows = Callable[..., PassRows]


def texts(**by_stem: str) -> Callable[[Path], None]:
    """Fill a folder with text files `stem.yaml`."""

    def fill(folder: Path) -> None:
        for stem, text in by_stem.items():
            (folder / f"{stem}.yaml").write_text(text, encoding="utf-8", newline="")

    return fill


def folder_of_run(root: Path, name: str, minute: int = 0) -> Path:
    folder = create_run_folder(root, name, NOW.replace(minute=minute), texts())
    PassLog.create(folder / LOG_NAME, {}).close()
    return folder


def test_a_folder_is_named_by_time_and_experiment_and_holds_its_files(tmp_path: Path) -> None:
    fill = texts(experiment="name: digits\r\n", chamber="name: Kammer ä\n")
    folder = create_run_folder(tmp_path / "runs", "digits-acoustic", NOW, fill)
    assert folder == tmp_path / "runs" / "2026-11-22T03-40-12-digits-acoustic"
    assert (folder / "experiment.yaml").read_bytes() == b"name: digits\r\n"
    assert (folder / "chamber.yaml").read_text(encoding="utf-8") == "name: Kammer ä\n"
    assert (folder / "model").is_dir()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [folder.name]


def test_runs_in_one_second_get_numbers_and_are_never_overwritten(tmp_path: Path) -> None:
    first, second, third = (create_run_folder(tmp_path, "a", NOW, texts(x=str(n))) for n in range(3))
    assert [path.name[20:] for path in (first, second, third)] == ["a", "a-2", "a-3"]
    assert [(path / "x.yaml").read_text() for path in (first, second, third)] == ["0", "1", "2"]


@pytest.mark.parametrize("name", ["", "a b", "../up", "a/b", ".hidden", "-x", "ünder"])
def test_names_that_do_not_suit_a_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot name a run"):
        create_run_folder(tmp_path, name, NOW, texts())
    assert not list(tmp_path.iterdir())


def test_nothing_half_made_is_left(
    tmp_path: Path, public_path: Path, read_only: Callable[[Path], AbstractContextManager[None]]
) -> None:
    with pytest.raises(InputError, match="a run cannot be kept in"):
        create_run_folder(tmp_path, "a", NOW, lambda folder: (folder / "missing" / "x").touch())
    assert not list(tmp_path.iterdir())
    with pytest.raises(RecordError, match="is never overwritten"):
        create_run_folder(tmp_path, "a", NOW, lambda folder: [create_file(folder / LOG_NAME, {}) for _ in range(2)])
    assert not list(tmp_path.iterdir())
    with read_only(public_path), pytest.raises(InputError, match="a run cannot be kept in"):
        create_run_folder(public_path, "a", NOW, texts())
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="a run cannot be kept in"):
        create_run_folder(tmp_path / "file", "a", NOW, texts())


def test_find_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = folder_of_run(tmp_path, "digits-acoustic", 1)
    vowels = folder_of_run(tmp_path, "vowels", 2)
    again = folder_of_run(tmp_path, "digits-acoustic", 3)
    for text, expected in (
        (str(digits), digits),
        (str(digits / LOG_NAME), digits),
        (digits.name, digits),
        ("vowels", vowels),
        ("2026-11-22T03-02", vowels),
        ("03-03-12-digits-acoustic", again),
        ("latest", again),
    ):
        assert find_run(tmp_path, text) == expected
    monkeypatch.chdir(tmp_path)
    assert find_run(Path("elsewhere"), vowels.name) == Path(vowels.name)


def test_latest_is_the_last_of_one_second(tmp_path: Path) -> None:
    folders = [folder_of_run(tmp_path, "a") for _ in range(11)]
    assert find_run(tmp_path, "latest") == folders[-1]


def test_find_run_says_what_might_have_been_meant(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are no runs in"):
        find_run(tmp_path / "nowhere", "latest")
    first, second = folder_of_run(tmp_path, "digits", 1), folder_of_run(tmp_path, "digits", 2)
    vowels = folder_of_run(tmp_path, "vowels", 3)
    with pytest.raises(InputError, match=f"names several runs .*: {first.name}, {second.name}$"):
        find_run(tmp_path, "digits")
    with pytest.raises(InputError, match=f"close to it: {first.name}, {second.name}$"):
        find_run(tmp_path, "digts")
    with pytest.raises(InputError, match=f"close to it: {first.name}, {second.name}, {vowels.name}$"):
        find_run(tmp_path, "zzz")
    with pytest.raises(InputError, match="names several runs"):
        find_run(tmp_path, "")


def test_runs_are_listed_whatever_their_state(tmp_path: Path, make_rows: MakeRows) -> None:
    good = create_run_folder(tmp_path, "good", NOW.replace(minute=1), texts())
    with PassLog.create(good / LOG_NAME, {}) as log:
        log.append(make_rows(0, 4, status=np.array([0, 0, 1, 0], dtype=np.uint8)))
        log.append_step(0, 0, {})
        log.append_step(1, 2, {})
    running = create_run_folder(tmp_path, "running", NOW.replace(minute=2), texts())
    create_run_folder(tmp_path, "without-log", NOW.replace(minute=3), texts())
    damaged = folder_of_run(tmp_path, "damaged", 4)
    os.truncate(damaged / LOG_NAME, 5000)
    (tmp_path / "notes").mkdir()
    (tmp_path / "2026-11-22T03-40-12-a-file").touch()
    with PassLog.create(running / LOG_NAME, {}):
        found = list_runs(tmp_path)
    assert [run.folder.name[20:] for run in found] == ["good", "running", "without-log", "damaged"]
    assert (found[0].n_passes, found[0].n_rejected, found[0].step, found[0].epoch) == (4, 1, 1, 2)
    assert (found[0].first_pass_s, found[0].last_pass_s) == (1.7e9, 1.7e9 + 0.75)
    assert [run.closed for run in found] == [True, False, False, False]
    assert found[0].problem is None
    assert found[1].problem is None
    assert "there is no pass log at" in str(found[2].problem)
    assert "is damaged" in str(found[3].problem)
