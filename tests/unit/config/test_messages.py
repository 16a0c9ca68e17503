"""Every mistake in an experiment or rig file gives one message that says where and what is expected."""

import re
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from labctl.config.errors import ConfigError
from labctl.config.loading import experiment_from_text
from labctl.config.schema import experiment_schema

PHYLL_KEYS = (
    "precision, epochs, batch, shifts, optimizer, schedule, inner_steps, theta, loss, negatives, hardness, "
    "arithmetic, init_from, rule"
)
RULES = ", ".join(experiment_schema()["properties"]["training"]["discriminator"]["mapping"])
NAME = 'a name of letters, digits, ".", "_" and "-" that starts with a letter or digit'
PART = 'a name of letters, digits, "_" and "-" that starts with a letter or digit'
SECONDS = "s, ms, us, µs, ns, min, h"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # schema
        (
            "experiment/1",
            "experiment/2",
            '2:9: schema "labctl/experiment/2" is not supported; supported: labctl/experiment/1',
        ),
        (
            "labctl/experiment/1",
            "labctl/rig/1",
            '2:9: this is a rig file; expected an experiment file, "schema: labctl/experiment/1"',
        ),
        (
            "schema: labctl/experiment/1\n",
            "",
            '2:1: missing key "schema"; add "schema: labctl/experiment/1" as the first line',
        ),
        ("schema:", "shema:", '2:1: unknown key "shema"; did you mean "schema"?'),
        # keys
        ("epochs", "epoch", '11:43: unknown key "epoch"; did you mean "epochs"?'),
        ("epochs: 60, ", "", '11:11: missing key "epochs"; expected a whole number of at least 1'),
        ("seed: 7", "seed: 7\nSeeds: 8", '6:1: unknown key "Seeds"; did you mean "seed"?'),
        ("theta: 10", "wishbone: 10", f'11:55: unknown key "wishbone"; expected one of: {PHYLL_KEYS}'),
        (
            "test_fraction: 0.2",
            "path: x.csv",
            '6:24: unknown key "path"; expected one of: test_fraction, split, split_seed, train_samples, normalise, '
            "source",
        ),
        ("fitted-range", "{kind: direct, mx: none}", '10:47: unknown key "mx"; did you mean "mix"?'),
        ("seed: 7", "seed: 7\nseed: 8", '6:1: duplicate key "seed"; first given in line 5'),
        ("rig: ../rigs/sim_acoustic.yaml", "", '2:1: missing key "rig"; expected the path of a rig file'),
        (
            "rig: ../rigs/sim_acoustic.yaml",
            "rig: a\nrigs: {main: b}",
            '5:7: both "rig" and "rigs" are given; expected one ("rig: FILE" means the main rig)',
        ),
        ("rig: ../rigs/sim_acoustic.yaml", "rigs: {a.b: c}", f'4:8: key "a.b" is not valid; expected {PART}'),
        # unions
        ("rule: phyll", "rule: phylll", '11:18: rule is "phylll"; did you mean "phyll"?'),
        ("rule: phyll", "rule: 5", f"11:18: rule is 5; expected one of: {RULES}"),
        ("rule: phyll", "rulle: phyll", '11:12: unknown key "rulle"; did you mean "rule"?'),
        ("rule: phyll, ", "", f'11:11: missing key "rule"; expected one of: {RULES}'),
        ("source: digits", "source: [1]", "6:16: source is a list; expected one of: csv, digits, idx, npz, wine"),
        ("{source: digits, test_fraction: 0.2}", "5", '6:7: data is 5; expected a mapping with the key "source"'),
        ("fitted-range", "fited-range", '10:32: encoder is "fited-range"; did you mean "fitted-range"?'),
        (
            "fitted-range",
            "{kind: wide}",
            '10:39: kind is "wide"; expected one of: direct, fitted-range, quantile, two-bit, unit-energy',
        ),
        (
            "fitted-range",
            "5",
            "10:32: encoder is 5; expected one of: direct, fitted-range, quantile, unit-energy, two-bit; "
            'or a mapping with the key "kind"',
        ),
        ("kind: adam", "kind: sgd", '11:101: kind is "sgd"; expected "adam"'),
        # types
        ("epochs: 60", "epochs: '60'", '11:51: epochs is the text "60"; expected a whole number of at least 1'),
        ("epochs: 60", "epochs: 60.5", "11:51: epochs is 60.5; expected a whole number of at least 1"),
        ("epochs: 60", "epochs: 60.0", "11:51: epochs is 60.0; expected a whole number of at least 1"),
        ("epochs: 60", "epochs: true", "11:51: epochs is true; expected a whole number of at least 1"),
        ("epochs: 60", "epochs: ", "11:50: epochs is empty; expected a whole number of at least 1"),
        ("epochs: 60", "epochs: {}", "11:51: epochs is a mapping; expected a whole number of at least 1"),
        ("skip: true", "skip: yes", '10:52: skip is the text "yes"; expected true or false or "input"'),
        ("skip: true", "skip: 1", '10:52: skip is 1; expected true or false or "input"'),
        (
            "skip: true",
            "skip: input",
            "10:52: what enters the network is what the first block encodes; write `skip: true` there, which means it",
        ),
        ("theta: 10", "theta: on", '11:62: theta is the text "on"; expected a number above 0'),
        ("theta: 10", "theta: .inf", "11:62: theta is inf; expected a finite number above 0"),
        ("theta: 10", "theta: .nan", "11:62: theta is nan; expected a finite number above 0"),
        ("name: digits-acoustic", "name: 5", f"3:7: name is 5; expected {NAME}"),
        ("name: digits-acoustic", "name: my run", f'3:7: name is "my run"; expected {NAME}'),
        ("name: digits-acoustic", "name: ../x", f'3:7: name is "../x"; expected {NAME}'),
        ("rig: ../rigs/sim_acoustic.yaml", "rig: ''", '4:6: rig is ""; expected text that is not empty'),
        (
            "layer: cavity",
            "layer: a.b.c",
            '10:15: layer is "a.b.c"; expected the name of a layer, as in cavity or main.cavity',
        ),
        (
            "units: 100}",
            "units: 100}\n    - cavity",
            '11:7: blocks[1] is the text "cavity"; expected a mapping',
        ),
        # ranges
        ("epochs: 60", "epochs: 0", "11:51: epochs is 0; expected a whole number of at least 1"),
        ("theta: 10", "theta: -1", "11:62: theta is -1; expected a number above 0"),
        ("seed: 7", "seed: -7", "5:7: seed is -7; expected a whole number of at least 0"),
        (
            "test_fraction: 0.2",
            "test_fraction: 1",
            "6:39: test_fraction is 1; expected a number above 0 and below 1",
        ),
        (
            "seed: 7",
            "seed: 7\nrecord: {retries: 21}",
            "6:19: retries is 21; expected a whole number from 0 to 20",
        ),
        ("schedule: cached", "schedule: cachd", '11:35: schedule is "cachd"; did you mean "cached"?'),
        (
            "seed: 7",
            "seed: 7\nreport: {baselines: [linear, skip]}",
            '6:30: baselines[1] is "skip"; did you mean "skip-only"?',
        ),
        # units
        (
            "seed: 7",
            "seed: 7\nrecord: {commit_every: 0.2}",
            f"6:24: commit_every is 0.2; has no unit: write '0.2 s' (or {SECONDS})",
        ),
        (
            "seed: 7",
            "seed: 7\nrecord: {commit_every: 2 Hz}",
            f"6:24: commit_every is \"2 Hz\"; 'Hz' is not a unit known here: {SECONDS}",
        ),
        (
            "seed: 7",
            "seed: 7\nrecord: {commit_every: -1 s}",
            '6:24: commit_every is "-1 s"; expected a value above 0 s',
        ),
        # one field against another
        (
            "kind: one-hot",
            "kind: none",
            '8:17: label kind is "none", but rule phyll tells positive from negative passes by their label; '
            "expected one-hot or field",
        ),
        (
            "test_fraction: 0.2",
            "split: group",
            '6:31: split is "group", but this source names no groups; expected stratified',
        ),
        (
            "source: digits, test_fraction: 0.2",
            "source: csv, path: x.csv, label: y, split: group",
            '6:51: split is "group", but nothing names the groups; expected the key "group" beside it',
        ),
        (
            "source: digits, test_fraction: 0.2",
            "source: npz, path: x.npz, split: group",
            '6:41: split is "group", but nothing names the groups; expected the key "groups" beside it',
        ),
        (
            "source: digits, test_fraction: 0.2",
            "source: idx, images: a, labels: b, test_images: c",
            "6:56: test_images comes without test_labels; expected both or neither",
        ),
        (
            "source: digits",
            "source: idx, images: a, labels: b, test_images: c, test_labels: d",
            "6:90: test_fraction splits off a test set, but test_images already is one; expected one of the two",
        ),
        (
            "fitted-range",
            "{kind: fitted-range, low_quantile: 0.995}",
            "10:67: low_quantile is 0.995 and high_quantile 0.99; expected low < high",
        ),
    ],
)
def test_a_mistake_in_an_experiment(complaint, old: str, new: str, said: str) -> None:
    assert complaint(old, new) == f"quick.yaml:{said}"


def test_the_readout_rule_refuses_a_label_in_the_drive(complaint) -> None:
    settings = (
        "rule: phyll, schedule: cached, epochs: 60, theta: 10, inner_steps: 10, optimizer: {kind: adam, lr: 2e-3}"
    )
    assert complaint(settings, "rule: readout") == (
        'quick.yaml:8:17: label kind is "one-hot", but rule readout predicts the label, so no pass may contain it; '
        "expected none"
    )


def test_compiled_arithmetic_without_the_compiler(complaint, monkeypatch) -> None:
    monkeypatch.setattr("labctl.config.training.find_spec", lambda name: None)
    assert complaint("theta: 10", "arithmetic: fused") == (
        'quick.yaml:11:67: arithmetic is "fused", but numba, which compiles it, is not installed; '
        'pip install "labctl[fast]"'
    )


def test_a_list_with_nothing_in_it(complaint) -> None:
    block = "  blocks:\n    - {layer: cavity, encoder: fitted-range, skip: true, units: 100}"
    assert complaint(block, "  blocks: []") == (
        "quick.yaml:9:11: blocks is an empty list; expected a list of at least 1 item"
    )


def test_a_key_that_resembles_nothing_is_told_beside_the_one_that_is_missing(complaint) -> None:
    assert complaint("epochs", "zzz").splitlines() == [
        'quick.yaml:11:11: missing key "epochs"; expected a whole number of at least 1',
        f'quick.yaml:11:43: unknown key "zzz"; expected one of: {PHYLL_KEYS}',
    ]


def test_all_problems_of_a_file_are_told_at_once(complaint) -> None:
    text = "seed: 7\ndata: {source: digits, test_fraction: 0.2}"
    assert complaint(text, "seed: x\nbata: {source: digits}").splitlines() == [
        'quick.yaml:5:7: seed is the text "x"; expected a whole number of at least 0',
        'quick.yaml:6:1: unknown key "bata"; did you mean "data"?',
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "labctl/rig/1",
            "labctl/experiment/1",
            '1:9: this is an experiment file; expected a rig file, "schema: labctl/rig/1"',
        ),
        ("driver: audio.test", "drvr: audio.test", '6:5: missing key "driver"; expected the name of a driver'),
        ("kind: acoustic", "kind: 5", "11:11: kind is not text; expected the name of a driver"),
        ("  cavity:", "  ca vity:", f'10:3: key "ca vity" is not valid; expected {PART}'),
        ("power_w: 85", "power: 85", '3:1: unknown key "power"; did you mean "power_w"?'),
        ("power_w: 85", "power_w: -1", "3:10: power_w is -1; expected a number of at least 0"),
        (
            "power_w: 85",
            "time_scale: fast",
            '3:13: time_scale is the text "fast"; expected "instant" or a number above 0',
        ),
        ("power_w: 85", "time_scale: 0", '3:13: time_scale is 0; expected "instant" or a number above 0'),
        (
            "power_w: 85",
            "safety: {}",
            '3:1: unknown key "safety"; expected one of: schema, name, time_scale, power_w, host, recovery, '
            "interlocks, instruments, layers",
        ),
    ],
)
def test_a_mistake_in_a_rig(rig_complaint, old: str, new: str, said: str) -> None:
    assert rig_complaint(old, new) == f"rig.yaml:{said}"


QUICKSTART = """\
schema: labctl/experiment/1
name: digits
seed: 7
rig: rig.yaml
data:
  source: digits
  test_fraction: 0.2
network:
  label:
    kind: one-hot
    amplitude: 1.0
  blocks:
    - layer: cavity
      encoder:
        kind: fitted-range
        mix: none
      skip: true
      units: 100
training:
  rule: phyll
  epochs: 60
  optimizer:
    kind: adam
    lr: 2e-3
record:
  retries: 3
"""
KEYS = [key.span(1) for key in re.finditer(r"^[ -]*([a-z_]+):", QUICKSTART, re.MULTILINE)]
VALID_KEYS = set(re.findall(r'"([a-z_0-9]+)": \{', str(experiment_schema()).replace("'", '"')))


@settings(deadline=None)
@given(st.sampled_from(KEYS), st.from_regex(r"[A-Za-z_][A-Za-z_0-9]{0,12}", fullmatch=True))
def test_renaming_any_key_is_told_in_its_line(span: tuple[int, int], name: str) -> None:
    assume(name not in VALID_KEYS | {"true", "false", "null", "Null", "NULL"})
    start, end = span
    with pytest.raises(ConfigError) as caught:
        experiment_from_text(QUICKSTART[:start] + name + QUICKSTART[end:], Path("q.yaml"), Path(), rigs={})
    line = QUICKSTART.count("\n", 0, start) + 1
    assert line in {problem.position.line for problem in caught.value.problems}


def slips() -> st.SearchStrategy[tuple[tuple[int, int], str]]:
    """Return keys of four letters and more, each with one letter doubled."""
    keys = [span for span in KEYS if span[1] - span[0] >= 4]
    doubled = [
        ((start, end), QUICKSTART[start : at + 1] + QUICKSTART[at:end])
        for start, end in keys
        for at in range(start, end)
    ]
    return st.sampled_from(doubled)


@settings(deadline=None)
@given(slips())
def test_a_slip_is_told_once_with_the_right_key(slip: tuple[tuple[int, int], str]) -> None:
    (start, end), name = slip
    with pytest.raises(ConfigError) as caught:
        experiment_from_text(QUICKSTART[:start] + name + QUICKSTART[end:], Path("q.yaml"), Path(), rigs={})
    before = QUICKSTART[:start]
    place = f"q.yaml:{before.count(chr(10)) + 1}:{start - (before.rfind(chr(10)) + 1) + 1}"
    assert str(caught.value) == f'{place}: unknown key "{name}"; did you mean "{QUICKSTART[start:end]}"?'
