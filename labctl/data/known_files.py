"""Where the data files that labctl's examples use come from, and how to tell the right ones."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A public data file: what it holds, which repository has it, its licence and its SHA-256."""

    what: str
    source: str
    licence: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.what}; source: {self.source}; licence: {self.licence}; sha256 {self.sha256}"


_MNIST = "LeCun's file as mirrored in datasets-mila/datasets--mnist"
_MNIST_LICENCE = "MNIST (LeCun, Cortes, Burges), commonly CC BY-SA 3.0"
_FASHION = "zalandoresearch/fashion-mnist, data/fashion/"
_FASHION_LICENCE = "MIT (Zalando SE)"

KNOWN_FILES: dict[tuple[str, str], KnownFile] = {
    ("phyll_acoustic", "vowels_258.csv"): KnownFile(
        "the PhyLL authors' vowel table, 258 tokens of 7 vowels, 12 formant frequencies in Hz",
        "MomeniAli/PhyLL, Vowel datasets/Vowel_dataset.xlsx, as CSV",
        "MIT",
        "cc63417c4de3405ad000aa503920c5bb0d395eb225b6f17bd32a07260eda60ba",
    ),
    ("vowels", "hillenbrand_7v12f.csv"): KnownFile(
        "Hillenbrand's vowels, 919 tokens of 7 vowels by 139 talkers, 12 formant frequencies in Hz",
        "derived from kleinschmidt/hdp-bayes-vowels, hillenbrand-data/vowdata.dat",
        "(c) 1995 James Hillenbrand, released freely by the author",
        "774fa9a536c52933f434f954f565646b8f32587eb27483adb0376d20100cdf43",
    ),
    ("mnist", "train-images-idx3-ubyte.gz"): KnownFile(
        "MNIST, 60000 training images",
        _MNIST,
        _MNIST_LICENCE,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    ("mnist", "train-labels-idx1-ubyte.gz"): KnownFile(
        "MNIST, 60000 training labels",
        _MNIST,
        _MNIST_LICENCE,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    ("mnist", "t10k-images-idx3-ubyte.gz"): KnownFile(
        "MNIST, 10000 test images",
        _MNIST,
        _MNIST_LICENCE,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    ("mnist", "t10k-labels-idx1-ubyte.gz"): KnownFile(
        "MNIST, 10000 test labels",
        _MNIST,
        _MNIST_LICENCE,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    ("fashion_mnist", "train-images-idx3-ubyte.gz"): KnownFile(
        "Fashion-MNIST, 60000 training images",
        _FASHION,
        _FASHION_LICENCE,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    ("fashion_mnist", "train-labels-idx1-ubyte.gz"): KnownFile(
        "Fashion-MNIST, 60000 training labels",
        _FASHION,
        _FASHION_LICENCE,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    ("fashion_mnist", "t10k-images-idx3-ubyte.gz"): KnownFile(
        "Fashion-MNIST, 10000 test images",
        _FASHION,
        _FASHION_LICENCE,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    ("fashion_mnist", "t10k-labels-idx1-ubyte.gz"): KnownFile(
        "Fashion-MNIST, 10000 test labels",
        _FASHION,
        _FASHION_LICENCE,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
}


def known_file(path: Path) -> KnownFile | None:
    """Return what is known of a file with this name in a folder with this name."""
    return KNOWN_FILES.get((path.parent.name, path.name))
