"""From the `data:` section of an experiment to arrays that can be trained on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labctl.config.data import CsvData, Data, IdxData, NpzData
from labctl.contract.errors import InputError
from labctl.data.bundled import load_bundled
from labctl.data.csv_file import load_csv
from labctl.data.dataset import Dataset, ImageShape, Labels
from labctl.data.idx_file import load_idx
from labctl.data.normalise import Normalisation, fit_normalisation
from labctl.data.npz_file import load_npz
from labctl.data.splits import Split, group_split, stratified_split, thin_out


def load_dataset(settings: Data, folder: Path) -> Dataset:
    """Return the dataset that the settings name; relative paths are relative to `folder`. Raises `InputError`."""
    match settings:
        case CsvData():
            return load_csv(folder / settings.path, settings.label, settings.features, settings.group)
        case NpzData():
            return load_npz(folder / settings.path, settings.features, settings.labels, settings.groups)
        case IdxData():
            tests = (settings.test_images, settings.test_labels)
            test_images, test_labels = (None if name is None else folder / name for name in tests)
            images, labels = folder / settings.images, folder / settings.labels
            return load_idx(images, labels, test_images, test_labels, crop=settings.crop)
        case _:
            return load_bundled(settings.source)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedData:
    """Normalised samples of both parts, float32, with their class numbers.

    `train_index` and `test_index` are the sorted rows of the dataset that `train_x` (n_train, d) and `test_x`
    (n_test, d) come from; `fingerprint` and `image_shape` are the dataset's.
    """

    train_x: NDArray[np.float32]
    train_y: Labels
    test_x: NDArray[np.float32]
    test_y: Labels
    train_index: Labels
    test_index: Labels
    normalisation: Normalisation
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    fingerprint: str
    image_shape: ImageShape | None

    @property
    def index(self) -> Labels:
        """Sorted rows of the dataset that either part holds."""
        return np.sort(np.concatenate([self.train_index, self.test_index]))

    @property
    def n_features(self) -> int:
        """Number of features of a sample."""
        return int(self.train_x.shape[1])

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


def prepare(dataset: Dataset, settings: Data) -> PreparedData:
    """Split the dataset, thin out the training part if asked, and normalise both parts by what is left of it alone.

    A dataset with an official test part is split there; `test_fraction` then means nothing, and asking for a split by
    group is an error. Raises `InputError`.
    """
    try:
        train, test = _split(dataset, settings)
        if settings.train_samples is not None:
            train = train[thin_out(dataset.labels[train], settings.train_samples, settings.split_seed)]
        normalisation = fit_normalisation(dataset.features[train], settings.normalise)
        normalised = normalisation.apply(dataset.features)
    except InputError as error:
        raise InputError(f"{dataset.name}: {error}") from None
    return PreparedData(
        normalised[train],
        dataset.labels[train],
        normalised[test],
        dataset.labels[test],
        train,
        test,
        normalisation,
        dataset.class_names,
        dataset.feature_names,
        dataset.fingerprint,
        dataset.image_shape,
    )


def _split(dataset: Dataset, settings: Data) -> Split:
    """Return the rows of the training and the test part."""
    labels, fraction, seed = dataset.labels, settings.test_fraction, settings.split_seed
    if dataset.official_test is not None:
        return _official_split(dataset, dataset.official_test, settings.split)
    if settings.split == "stratified":
        return stratified_split(labels, fraction, seed, dataset.class_names)
    if dataset.groups is None:
        raise InputError("a split by group needs groups, and the dataset has none; name them, or use split: stratified")
    return group_split(labels, dataset.groups, fraction, seed, dataset.class_names)


def _official_split(dataset: Dataset, test: Labels, split: str) -> Split:
    if split != "stratified":
        raise InputError(f"it has its own test part, which a split by {split} would ignore")
    train = np.setdiff1d(np.arange(len(dataset.labels)), test)
    for side, rows in (("training", train), ("test", test)):
        absent = np.setdiff1d(np.arange(dataset.n_classes), dataset.labels[rows])
        if len(absent):
            raise InputError(f'class "{dataset.class_names[int(absent[0])]}" has no {side} row')
    return train, test
