import contextlib
import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.contract.errors import InputError
from labctl.data.csv_file import load_csv

GOOD = "vowel,F1,F2\nae,678,2293\nih,400,2000\nae,624,2442\nih,420,2100\n"
FORMANTS = [f"F{i}_{at}" for at in ("ss", "20", "50", "80") for i in (1, 2, 3)]


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "vowels.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_reads_a_table(tmp_path: Path) -> None:
    dataset = load_csv(written(tmp_path, GOOD), "vowel")
    assert dataset.name == "vowels.csv"
    assert dataset.class_names == ("ae", "ih")
    assert dataset.feature_names == ("F1", "F2")
    assert dataset.labels.tolist() == [0, 1, 0, 1]
    assert dataset.features.tolist() == [[678, 2293], [400, 2000], [624, 2442], [420, 2100]]
    assert dataset.groups is None


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.replace(",", " , ").encode(),
        GOOD.replace("\nih", "\n\nih").encode() + b"\n\n",
        GOOD.replace("vowel", '"vowel"').replace("678", '"678"').encode(),
        GOOD.rstrip().encode(),
    ],
    ids=["byte order mark", "CRLF", "blanks", "blank lines", "quotes", "no last newline"],
)
def test_spelling_does_not_change_the_dataset(tmp_path: Path, content: bytes) -> None:
    plain = load_csv(written(tmp_path, GOOD), "vowel")
    assert load_csv(written(tmp_path, content), "vowel").fingerprint == plain.fingerprint


def test_text_labels_are_sorted_and_integers_keep_their_order(tmp_path: Path) -> None:
    text = load_csv(written(tmp_path, "y,x\nuw,1\nae,2\nih,3\n"), "y")
    integers = load_csv(written(tmp_path, "y,x\n10,1\n2,2\n-1,3\n"), "y")
    padded = load_csv(written(tmp_path, "y,x\n10,1\n02,2\n2,3\n"), "y")
    assert (text.class_names, text.labels.tolist()) == (("ae", "ih", "uw"), [2, 0, 1])
    assert (integers.class_names, integers.labels.tolist()) == (("-1", "2", "10"), [2, 1, 0])
    assert padded.class_names == ("02", "10", "2")


def test_features_are_taken_in_the_order_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, "who,vowel,F1,F2\nm1,ae,1,2\nm2,ih,3,4\nm1,ih,5,6\n")
    dataset = load_csv(path, "vowel", features=["F2", "F1"], group="who")
    assert dataset.features.tolist() == [[2, 1], [4, 3], [6, 5]]
    assert dataset.groups is not None
    assert dataset.groups.tolist() == [0, 1, 0]


BAD = [
    ("", "vowels.csv: is empty; expected a header line"),
    ("vowel,F1\n", "vowels.csv: has no rows"),
    ("0,678\n1,400\n", "vowels.csv:1: is not a header line: it holds numbers alone"),
    ("\nvowel,F1,F1\nae,1,2\n", 'vowels.csv:2: column "F1" appears twice'),
    ("vowel,,F2\nae,1,2\n", "vowels.csv:1: column 2 has no name"),
    ("vowel,F1\nae,1\nih\n", "vowels.csv:3: has 1 cells, the header has 2"),
    ("vowel,F1\nae,1,\n", "vowels.csv:2: has 3 cells, the header has 2"),
    ("Vowel,F1\nae,1\n", 'vowels.csv: has no column "vowel" (did you mean "Vowel"?); it has: Vowel, F1'),
    ("sound;F1\nae;1\n", 'vowels.csv: has no column "vowel"; it has: sound;F1'),
    ("vowel,F1\nae,1\n\nih,2\n,3\n", 'vowels.csv:5: column "vowel": is empty'),
    ("vowel,F1\nae,1\nih,nan\n", 'vowels.csv:3: column "F1": is NaN; 1 such value(s) in all'),
    ("vowel,F1\nae,1e999\nih,inf\n", 'vowels.csv:2: column "F1": is infinite; 2 such value(s) in all'),
    ("vowel,F1\nae,1\nae,2\n", "vowels.csv: has 1 class; a classifier needs at least 2"),
    ("vowel\nae\nih\n", "vowels.csv: has no features"),
    ('vowel,F1\nae,1\n"ih,2\n', "vowels.csv:3: unexpected end of data"),
    (b"vowel,F1\nae,1\n\xe9h,2\n", "vowels.csv:3: byte 0xe9 is not UTF-8 text"),
    ('vowel,F1\n"a\ne",1\nih,nan\n', 'vowels.csv:4: column "F1": is NaN; 1 such value(s) in all'),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_each_fault_has_one_message(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_csv(written(tmp_path, content), "vowel")
    assert str(caught.value) == message


@pytest.mark.parametrize("cell", ["abc", "", "1_000", "1,5", "0x10", "٣", "1 2", "--1", "12 Hz"])
def test_what_is_no_number_is_named(tmp_path: Path, cell: str) -> None:
    path = written(tmp_path, GOOD.replace("624", f'"{cell}"'))
    with pytest.raises(InputError) as caught:
        load_csv(path, "vowel", ["F1"])
    assert str(caught.value) == f'vowels.csv:4: column "F1": "{cell}" is not a number'


def test_another_column_of_text_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = written(tmp_path, "token,vowel,F1\nw01ae,ae,1\nw01ih,ih,2\n")
    with pytest.raises(InputError) as caught:
        load_csv(path, "vowel")
    assert str(caught.value) == (
        'vowels.csv:2: column "token": "w01ae" is not a number; '
        "to leave the column out, name those to use under 'features'"
    )


@pytest.mark.parametrize(
    ("features", "group", "message"),
    [
        (["F1", "vowel"], None, 'vowels.csv: column "vowel" cannot be used twice'),
        (["F1", "F2"], "F2", 'vowels.csv: column "F2" cannot be used twice'),
        (["F1", "F1"], None, 'vowels.csv: column "F1" cannot be used twice'),
        (["F1", "F3"], None, 'vowels.csv: has no column "F3"; it has: vowel, F1, F2'),
        (None, "speaker", 'vowels.csv: has no column "speaker"; it has: vowel, F1, F2'),
    ],
)
def test_columns_asked_for_must_fit(
    tmp_path: Path, features: list[str] | None, group: str | None, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_csv(written(tmp_path, GOOD), "vowel", features, group)
    assert str(caught.value) == message


def test_a_wide_header_is_not_listed_in_full(tmp_path: Path) -> None:
    header = ",".join(f"p{i}" for i in range(784))
    with pytest.raises(InputError, match=r"p18, p19 and 764 more$"):
        load_csv(written(tmp_path, header + "\n"), "vowel")


def test_the_authors_vowel_table(real_data: Path) -> None:
    dataset = load_csv(real_data / "phyll_acoustic/vowels_258.csv", "vowel", FORMANTS)
    assert dataset.class_names == ("ae", "ah", "aw", "er", "ih", "iy", "uw")
    assert np.bincount(dataset.labels).tolist() == [37, 37, 37, 37, 37, 37, 36]
    assert dataset.features[0].tolist() == [678, 2293, 2861, 681, 2295, 2868, 711, 2160, 2867, 705, 1968, 2906]
    assert dataset.fingerprint == "c819055b640aa5915aed9951fd79408bc3166ff68c6f990730b6612ca500f22f"


def test_hillenbrands_vowels_by_speaker(real_data: Path) -> None:
    dataset = load_csv(real_data / "vowels/hillenbrand_7v12f.csv", "vowel", FORMANTS, "speaker")
    assert dataset.features.shape == (919, 12)
    assert dataset.groups is not None
    assert len(np.unique(dataset.groups)) == 139


labels = st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1).filter(lambda text: text == text.strip())
numbers = st.floats(allow_nan=False, allow_infinity=False)
tables = st.lists(st.tuples(labels, numbers, numbers), min_size=2).filter(lambda rows: len({r[0] for r in rows}) > 1)


@given(rows=tables)
def test_what_is_written_is_read(scratch: Path, rows: list[tuple[str, float, float]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("y", "p", "q"), *rows])
    dataset = load_csv(written(scratch, text.getvalue()), "y")
    assert [dataset.class_names[label] for label in dataset.labels] == [row[0] for row in rows]
    np.testing.assert_array_equal(dataset.features, [row[1:] for row in rows])


@given(content=st.binary() | st.text('y,x\n\r"01.;\x00\ufeff').map(str.encode))
def test_arbitrary_bytes_are_refused_or_read(scratch: Path, content: bytes) -> None:
    with contextlib.suppress(InputError):
        assert load_csv(written(scratch, content), "y").n_classes >= 2
