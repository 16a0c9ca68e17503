import hashlib
import logging
from pathlib import Path

import pytest

from labctl.contract.errors import InputError
from labctl.data.data_file import read_data_file
from labctl.data.known_files import KNOWN_FILES


def test_a_missing_known_file_says_where_to_get_it(tmp_path: Path) -> None:
    path = tmp_path / "phyll_acoustic" / "vowels_258.csv"
    with pytest.raises(InputError) as caught:
        read_data_file(path)
    assert str(caught.value) == (
        f"{path}: no such data file; it is the PhyLL authors' vowel table, 258 tokens of 7 vowels, 12 formant "
        "frequencies in Hz; source: MomeniAli/PhyLL, Vowel datasets/Vowel_dataset.xlsx, as CSV; licence: MIT; "
        "sha256 cc63417c4de3405ad000aa503920c5bb0d395eb225b6f17bd32a07260eda60ba"
    )


def test_a_missing_other_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_data_file(tmp_path / "vowels_258.csv")
    assert str(caught.value) == f"{tmp_path / 'vowels_258.csv'}: no such data file"


def test_a_folder_is_no_data_file(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_data_file(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: cannot be read: ")


def test_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(InputError, match="is not a file name"):
        read_data_file(Path("a\0b"))


@pytest.mark.parametrize("folder_and_name", KNOWN_FILES)
def test_the_table_is_true_of_the_real_files(real_data: Path, folder_and_name: tuple[str, str]) -> None:
    content = real_data.joinpath(*folder_and_name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == KNOWN_FILES[folder_and_name].sha256


def test_a_changed_known_file_is_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "vowels" / "hillenbrand_7v12f.csv"
    path.parent.mkdir()
    path.write_bytes(b"cut down")
    with caplog.at_level(logging.WARNING):
        assert read_data_file(path) == b"cut down"
    assert len(caplog.records) == 1
    assert caplog.messages[0].startswith(f"{path} is not the file it is known as: Hillenbrand's vowels")
    assert "sha256 774fa9a5" in caplog.messages[0]


def test_the_right_file_is_read_without_a_warning(real_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read_data_file(real_data / "vowels" / "hillenbrand_7v12f.csv")
    assert caplog.records == []
