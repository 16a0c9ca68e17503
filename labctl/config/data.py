"""The part of an experiment file that says what is learnt from: where samples come from, and how they are split."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from labctl.config.names import FileName
from labctl.contract.driver import Settings
from labctl.contract.errors import SettingError


class _Data(Settings):
    groups_key: ClassVar[str | None] = None
    """The key of this source that says which group a sample belongs to."""

    test_fraction: float = Field(default=0.2, gt=0, lt=1, description="part of the samples kept for testing")
    split: Literal["stratified", "group"] = Field(
        default="stratified",
        description="stratified: the same share of every class on both sides; group: no group on both sides",
    )
    split_seed: int = Field(default=0, description="seed of the split, apart from the experiment's own")
    train_samples: int | None = Field(
        default=None,
        ge=1,
        description="how many samples of the training part are learnt from, class by class in proportion; all of them "
        "unless given",
    )
    normalise: Literal["none", "standard", "min-max", "max"] = Field(
        default="min-max", description="scaling of the features, fitted on the training part alone"
    )

    @model_validator(mode="after")
    def _split_by_known_groups(self) -> Self:
        if self.split != "group":
            return self
        if self.groups_key is None:
            raise SettingError(("split",), 'split is "group", but this source names no groups; expected stratified')
        if getattr(self, self.groups_key) is None:
            what = f'split is "group", but nothing names the groups; expected the key "{self.groups_key}" beside it'
            raise SettingError(("split",), what)
        return self


class DigitsData(_Data):
    """The 1797 handwritten digits of 8 × 8 pixels that come with scikit-learn."""

    source: Literal["digits"]


class WineData(_Data):
    """The 178 wines with 13 measured properties that come with scikit-learn."""

    source: Literal["wine"]


class CsvData(_Data):
    """A table with a header line and one sample per line."""

    groups_key = "group"

    source: Literal["csv"]
    path: FileName = Field(description="the file, relative to this one")
    label: str = Field(description="the column that holds the class")
    features: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="the columns to learn from; all others unless given"
    )
    group: str | None = Field(default=None, description="the column that says which samples belong together")


class NpzData(_Data):
    """Arrays in a NumPy archive."""

    groups_key = "groups"

    source: Literal["npz"]
    path: FileName = Field(description="the file, relative to this one")
    features: str = Field(default="x", description="the array of features, one row per sample")
    labels: str = Field(default="y", description="the array of classes")
    groups: str | None = Field(default=None, description="the array that says which samples belong together")


class IdxData(_Data):
    """Images and labels in the files of the MNIST family."""

    source: Literal["idx"]
    images: FileName = Field(description="the images, relative to this file")
    labels: FileName = Field(description="their labels")
    test_images: FileName | None = Field(default=None, description="images of the test set, if it has files of its own")
    test_labels: FileName | None = Field(default=None, description="labels of the test set")
    crop: int = Field(default=0, ge=0, description="rows and columns of pixels to cut off at every edge")

    @model_validator(mode="after")
    def _test_set_is_whole_and_alone(self) -> Self:
        if (self.test_images is None) != (self.test_labels is None):
            given, absent = ("test_images", "test_labels") if self.test_images else ("test_labels", "test_images")
            raise SettingError((given,), f"{given} comes without {absent}; expected both or neither")
        if self.test_images is not None and "test_fraction" in self.model_fields_set:
            what = "test_fraction splits off a test set, but test_images already is one; expected one of the two"
            raise SettingError(("test_fraction",), what)
        return self


Data = Annotated[DigitsData | WineData | CsvData | NpzData | IdxData, Field(discriminator="source")]
