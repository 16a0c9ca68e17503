"""The real datasets that come with scikit-learn and need no file of the user's.

They are read where scikit-learn is installed: to import it takes longer than all else that begins a command.
"""

from importlib.metadata import distribution
from typing import Literal

import numpy as np

from labctl.contract.errors import InputError
from labctl.data.dataset import Dataset, build_dataset

BundledName = Literal["digits", "wine"]

_FOLDER = "sklearn/datasets/data"
_PIXELS = 8
_WINE = (
    "alcohol",
    "malic_acid",
    "ash",
    "alcalinity_of_ash",
    "magnesium",
    "total_phenols",
    "flavanoids",
    "nonflavanoid_phenols",
    "proanthocyanins",
    "color_intensity",
    "hue",
    "od280/od315_of_diluted_wines",
    "proline",
)


def load_bundled(name: BundledName) -> Dataset:
    """Return the 1797 digits of 8 x 8 pixels (0 to 16), or the 178 wines of 13 chemical quantities.

    Raises `InputError` where scikit-learn is installed without them.
    """
    file, header = ("digits.csv.gz", 0) if name == "digits" else ("wine_data.csv", 1)
    try:
        table = np.loadtxt(
            str(distribution("scikit-learn").locate_file(f"{_FOLDER}/{file}")), delimiter=",", skiprows=header
        )
    except OSError as error:
        raise InputError(f"scikit-learn is installed without {_FOLDER}/{file}: install it again") from error
    digits = [str(digit) for digit in range(10)]
    pixels = [f"pixel_{row}_{column}" for row in range(_PIXELS) for column in range(_PIXELS)]
    return build_dataset(
        name,
        table[:, :-1],
        table[:, -1].astype(np.int64),
        digits if name == "digits" else ["class_0", "class_1", "class_2"],
        place=lambda row, column: f"{name}: row {row}" + ("" if column is None else f", column {column}"),
        feature_names=pixels if name == "digits" else list(_WINE),
        image_shape=(_PIXELS, _PIXELS) if name == "digits" else None,
    )
