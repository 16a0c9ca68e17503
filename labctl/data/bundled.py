"""The real datasets that come with scikit-learn and need no file."""

# scikit-learn ships no type information for its datasets.
# pyright: reportUnknownVariableType=false
from typing import Any, Literal, cast

from labctl.data.dataset import Dataset, build_dataset

BundledName = Literal["digits", "wine"]


def load_bundled(name: BundledName) -> Dataset:
    """Return the 1797 digits of 8 x 8 pixels (0 to 16), or the 178 wines of 13 chemical quantities."""
    bunch = _bunch(name)
    return build_dataset(
        name,
        bunch["data"],
        bunch["target"],
        [str(target) for target in bunch["target_names"]],
        place=lambda row, column: f"{name}: row {row}" + ("" if column is None else f", column {column}"),
        feature_names=bunch["feature_names"],
        image_shape=(8, 8) if name == "digits" else None,
    )


def _bunch(name: BundledName) -> dict[str, Any]:
    from sklearn.datasets import load_digits, load_wine

    return cast("dict[str, Any]", load_digits() if name == "digits" else load_wine())
