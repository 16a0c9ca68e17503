"""Draws docs/pictures/*.svg, what each simulated layer does, from the shipped rigs: `python docs/draw_pictures.py`.

Every number is measured through the layer itself, as a run would measure it. The captions are those of the README.
"""

# scikit-learn has no type stubs, and matplotlib's own leave parts unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import io
import re
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import cast

import numpy as np
from labctl_drivers.layers.acoustic import AcousticSettings
from labctl_drivers.layers.multitone import burst_timing, multitone
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from labctl.config.loading import load_rig
from labctl.config.network import FittedRangeEncoder, Label
from labctl.contract.audio import AudioInterface, Burst
from labctl.contract.layer import PhysicalLayer
from labctl.network.encoder import make_encoder
from labctl.network.label import LabelEmbedding
from labctl.report.figures import BLUE, COLOURS, INK, ORANGE, dress
from labctl.rig.rig import build_rig, opened

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "pictures"
RIGS = ROOT / "configs" / "rigs"

PANEL_INCH = (3.5, 2.9)
FRAME_S = 0.005
N_IMAGES = 200

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Picture:
    """An SVG file and the sentence below it."""

    svg: str
    caption: str


def pictures() -> dict[Path, Picture]:
    """Return every picture by its file."""
    return {
        FOLDER / "acoustic.svg": acoustic(),
        FOLDER / "microwave.svg": microwave(),
        FOLDER / "optics.svg": optics(),
    }


def acoustic() -> Picture:
    """Draw one pass through the box: tones sent, tones heard, and the level before, while and after."""
    loaded = load_rig(RIGS / "sim_acoustic.yaml")
    settings = loaded.document.validate(AcousticSettings, at=("layers", "cavity"), ignoring=frozenset({"kind"}))
    rig = build_rig(loaded)
    interface = cast("AudioInterface", rig.instruments[settings.interface])
    tones_hz = np.array(settings.tones_hz)
    with opened([rig]):
        drives = np.random.default_rng(1).uniform(-1, 1, (16, len(rig.layers["cavity"].info.inputs)))
        heard = _measure(rig.layers["cavity"], drives[:1])[0].reshape(len(interface.inputs), -1)
        time_s, level_db = _level(settings, interface, drives)
    decay_s = _decay_s(time_s, level_db, settings.settle_s + settings.window_s + 2 * FRAME_S)
    figure, (sent_axes, heard_axes, level_axes) = _panels(3)
    for index, (speaker, amplitudes) in enumerate(
        zip(interface.outputs, drives[0].reshape(len(interface.outputs), -1), strict=True)
    ):
        sent_axes.plot(tones_hz, amplitudes, "o", markersize=3.5, color=COLOURS[index], label=speaker.name)
    for index, (microphone, amplitudes) in enumerate(zip(interface.inputs, heard, strict=True)):
        heard_axes.plot(
            tones_hz, 20 * np.log10(amplitudes), "o-", markersize=3, linewidth=1, color=COLOURS[index], label=microphone
        )
    level_axes.plot(1e3 * time_s, level_db, color=BLUE, linewidth=1.6)
    edges_ms = 1e3 * np.cumsum([0.0, settings.settle_s, settings.window_s, settings.gap_s, settings.settle_s])
    for number, name in enumerate(("settle", "read", "gap", "settle")):
        if name == "read":
            level_axes.axvspan(edges_ms[number], edges_ms[number + 1], color=ORANGE, alpha=0.15, linewidth=0)
        level_axes.text(edges_ms[number : number + 2].mean(), -34, name, ha="center", fontsize=9, color=INK)
    level_axes.set_ylim(-90, -30)
    _name(sent_axes, "sent: amplitude of each tone, of full drive", "tone, Hz")
    _name(heard_axes, "heard: amplitude of each tone, dBFS", "tone, Hz")
    _name(level_axes, "level at the microphones, dBFS rms", "time, ms")
    silence_s = settings.gap_s + settings.settle_s
    caption = (
        f"One pass through the acoustic cavity: sound falls by 60 dB in {decay_s:.2f} s, so the "
        f"{1e3 * silence_s:.0f} ms of silence before the next reading let it decay by "
        f"{round(60 * silence_s / decay_s, -1):.0f} dB, far below the noise."
    )
    return Picture(_svg(figure, "acoustic"), caption)


def microwave() -> Picture:
    """Draw the transmission through the box for a few patterns, and what flipping each element does to it."""
    rig = build_rig(load_rig(RIGS / "sim_microwave.yaml", ["layers.cavity.frequencies.points=201"]))
    layer = rig.layers["cavity"]
    n_elements = len(layer.info.inputs)
    with opened([rig]):
        patterns = np.random.default_rng(1).integers(0, 2, (3, n_elements))
        flipped = np.abs(patterns[0] - np.eye(n_elements, dtype=np.int64))
        values = _measure(layer, np.concatenate([patterns, flipped]))
    transmission_db = 20 * np.log10(values)
    frequencies_ghz = [float(re.findall(r"@(.*)GHz", output.name)[0]) for output in layer.info.outputs]
    change_db = np.abs(transmission_db[len(patterns) :] - transmission_db[0])
    low_db, median_db, high_db = np.quantile(change_db, (0.1, 0.5, 0.9), axis=1)
    figure, (spectrum_axes, change_axes) = _panels(2, width=1.5)
    for index, line_db in enumerate(transmission_db[: len(patterns)]):
        spectrum_axes.plot(
            frequencies_ghz, line_db, linewidth=1.3, color=COLOURS[index], label=f"random pattern {index + 1}"
        )
    elements = np.arange(1, n_elements + 1)
    change_axes.vlines(elements, low_db, high_db, color=BLUE, linewidth=2.2, alpha=0.5, label="80 % of frequencies")
    change_axes.plot(elements, median_db, "o", color=BLUE, markersize=4, label="median")
    change_axes.set_yscale("log")
    change_axes.yaxis.set_major_formatter("{x:g}")
    _name(spectrum_axes, "transmission |S21|, dB", "frequency, GHz")
    _name(change_axes, "change of |S21| when one element is flipped, dB", "element")
    caption = (
        "Transmission through the metasurface cavity: with three random patterns it differs by "
        f"{_pair_difference_db(transmission_db[: len(patterns)]):.1f} dB (median), and flipping one of {n_elements} "
        f"elements moves it by {np.median(change_db):.1f} dB (median), "
        f"{median_db.min():.1f} to {median_db.max():.1f} dB from element to element."
    )
    return Picture(_svg(figure, "microwave"), caption)


def optics() -> Picture:
    """Draw an image, the same with a label's field as it is shown to the modulator, and the frame of the camera."""
    rig = build_rig(load_rig(RIGS / "sim_optics.yaml"))
    layer = rig.layers["bench"]
    side = round(len(layer.info.inputs) ** 0.5)
    images, digits = _images(side)
    rng = np.random.default_rng(1)
    label = LabelEmbedding.from_settings(Label(kind="field", amplitude=0.3), 10, side * side, rng)
    inputs = label.embed(images, digits[:, None])[:, 0]
    encoder = make_encoder(FittedRangeEncoder(kind="fitted-range"), side * side, layer.info.inputs, rng)
    encoder.fit(inputs)
    drives = encoder.encode(inputs[:1]).drives
    with opened([rig]):
        frame = _measure(layer, drives)[0]
    contrast = frame.std() / frame.mean()
    figure, axes = _panels(3)
    shown = (
        (images[0], "gray", "an image, grey value 0 to 1"),
        (drives[0], "gray", f'with the field of label "{digits[0]}", modulator, 0 to 1'),
        (frame, "inferno", "camera frame, counts"),
    )
    for panel, (values, colours, name) in zip(axes, shown, strict=True):
        shades = panel.imshow(values.reshape(side, side), cmap=colours, interpolation="none")
        figure.colorbar(shades, ax=panel, shrink=0.85).ax.tick_params(length=0, colors=INK, labelsize=9)
        _name(panel, name, "pixel")
        panel.grid(visible=False)
    caption = (
        "Image and label on the light modulator, and the camera behind a scattering medium: speckle of contrast "
        f"{contrast:.2f} (standard deviation over mean), into which every pixel of image and label enters."
    )
    return Picture(_svg(figure, "optics"), caption)


def _measure(layer: PhysicalLayer, drives: NDArray[np.number]) -> Real:
    """Return the responses (n, n_outputs) to `drives` (n, n_inputs)."""
    ids = np.arange(len(drives), dtype=np.int64)
    chunks = layer.measure(np.asarray(drives, np.float32), ids, stop=Event())
    return np.concatenate([chunk.values for chunk in chunks]).astype(np.float64)


def _level(settings: AcousticSettings, interface: AudioInterface, drives: Real) -> tuple[Real, Real]:
    """Return the middle of each frame in seconds and its level in dBFS, rms over microphones and bursts of `drives`.

    Each burst is followed by a silent one, which shows what the next pass would hear of it.
    """
    rate_hz = interface.samplerate_hz
    timing = burst_timing(
        rate_hz, settle_s=settings.settle_s, window_s=settings.window_s, gap_s=settings.gap_s, averages=1
    )
    design = multitone(settings.tones_hz, timing, settings.phases)
    full = interface.outputs[0].max_level / len(settings.tones_hz)
    heard: list[Real] = []
    for number, drive in enumerate(drives.astype(np.float32)):
        burst = design.synthesise(np.float32(full) * drive.reshape(len(interface.outputs), -1))
        bursts = [Burst(2 * number, burst), Burst(2 * number + 1, np.zeros_like(burst))]
        heard.append(np.concatenate([recording.samples for recording in interface.exchange(bursts)]).astype(np.float64))
    frame = round(FRAME_S * rate_hz)
    squares: Real = np.square(np.array(heard)).mean(axis=(0, 2))
    power: Real = squares[: len(squares) // frame * frame].reshape(-1, frame).mean(axis=1)
    shown = slice(0, round((timing.duration_s + settings.settle_s) / FRAME_S))
    middle_s: Real = FRAME_S * (np.arange(len(power), dtype=np.float64) + 0.5)
    level_db: Real = 10.0 * np.log10(power)
    return middle_s[shown], level_db[shown]


def _decay_s(time_s: Real, level_db: Real, begin_s: float) -> float:
    """Return the time for a decay of 60 dB, from the slope over the 25 dB after `begin_s`."""
    first = int(np.searchsorted(time_s, begin_s))
    last = first + int(np.argmax(level_db[first:] < level_db[first] - 25))
    slope_db_per_s, _ = np.polyfit(time_s[first:last], level_db[first:last], 1)
    return float(-60 / slope_db_per_s)


def _pair_difference_db(transmission_db: Real) -> float:
    """Return the median over pairs of patterns and frequencies of their difference."""
    first, second = np.triu_indices(len(transmission_db), 1)
    return float(np.median(np.abs(transmission_db[first] - transmission_db[second])))


def _images(side: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return digits of scikit-learn (n, side x side), 0 to 1, each pixel three wide, and what they show."""
    from sklearn.datasets import load_digits

    pixels, digits = cast("tuple[Real, NDArray[np.int64]]", load_digits(return_X_y=True))
    large = np.kron(pixels[:N_IMAGES].reshape(-1, 8, 8) / 16, np.ones((1, 3, 3)))
    edge = (side - large.shape[1]) // 2
    images = np.pad(large, ((0, 0), (edge, edge), (edge, edge))).reshape(len(large), -1)
    return images.astype(np.float32), digits[:N_IMAGES].astype(np.int64)


def _panels(n: int, width: float = 1.0) -> tuple[Figure, list[Axes]]:
    """Return a figure with n panels side by side, each `width` times as wide as usual."""
    figure = Figure(figsize=(n * width * PANEL_INCH[0], PANEL_INCH[1]), layout="constrained")
    axes = [figure.add_subplot(1, n, number) for number in range(1, n + 1)]
    for each in axes:
        dress(each)
    return figure, axes


def _name(axes: Axes, title: str, x_label: str) -> None:
    """Title the axes with what is drawn upwards, and give them a legend where several things are drawn."""
    n_labels = len(axes.get_legend_handles_labels()[0])
    axes.set_title(title, loc="left", fontsize=10, color=INK, pad=22 if n_labels else 6)
    axes.set_xlabel(x_label, color=INK, fontsize=10)
    if n_labels:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize=9, labelcolor=INK,
            borderaxespad=0, borderpad=0.2, handlelength=0.8, handletextpad=0.3, columnspacing=0.8,
        )  # fmt: skip


def _svg(figure: Figure, name: str) -> str:
    """Return the figure as SVG on white, the same in every run."""
    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", text.getvalue(), flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*;", "font-family: sans-serif;", svg)
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)


def main() -> None:
    """Write every picture and print its caption."""
    FOLDER.mkdir(exist_ok=True)
    for file, picture in pictures().items():
        file.write_text(picture.svg, encoding="utf-8")
        print(f"{file.name}: {picture.caption}")


if __name__ == "__main__":
    main()
