"""Reads samples without labels, to be predicted by a network that was trained on others like them."""

from collections.abc import Collection, Sequence
from pathlib import Path

from labctl.contract.errors import InputError
from labctl.data.csv_file import read_csv_table
from labctl.data.data_file import listed
from labctl.data.dataset import Features, check_features
from labctl.data.npz_file import npz_place, read_npz_arrays


def read_samples(
    path: Path, n_features: int, feature_names: Sequence[str] = (), ignore: Collection[str] = ()
) -> Features:
    """Return samples (n, n_features) of a `.csv` or `.npz` file as they are written, not normalised.

    `feature_names` are those of the training data, if it had any. A csv file must have every one of these columns, in
    any order; a further column is refused unless it is in `ignore` (such as the label column of the training table),
    so that a renamed or forgotten feature cannot pass unnoticed. An npz file holds the samples as array `x`, its
    features in the order of the training data. Raises `InputError`.
    """
    if path.suffix == ".csv":
        return _csv_samples(path, feature_names, ignore)
    if path.suffix != ".npz":
        raise InputError(f"{path}: samples come as .csv or .npz")
    samples = read_npz_arrays(path, ["x"])["x"]
    check_features(path.name, samples, (), npz_place(path, "x", "y"))
    if samples.shape[1] != n_features:
        raise InputError(f"{path.name}: x has {samples.shape[1]} features, the training data had {n_features}")
    return samples


def _csv_samples(path: Path, feature_names: Sequence[str], ignore: Collection[str]) -> Features:
    if not feature_names:
        raise InputError(f"{path.name}: the training data named no features; give samples as array x of an npz file")
    table = read_csv_table(path)
    extra = [column for column in table.columns if column not in feature_names and column not in ignore]
    samples = table.numbers(feature_names)
    if extra:
        raise InputError(
            f"{path.name}: the training data had no column {listed(extra)}; remove it, or name it with --ignore"
        )
    check_features(path.name, samples, feature_names, table.place(feature_names, ""))
    return samples
