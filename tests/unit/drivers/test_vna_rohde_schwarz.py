"""The R&S driver's conversations, line by line."""

from typing import Any

import numpy as np
import pytest
from labctl_drivers.vna.rohde_schwarz import RohdeSchwarz
from labctl_drivers.vna.settings import AnalyserRules

from labctl.contract.errors import InputError
from labctl.contract.microwave import Segment, Sweep

OPENING: tuple[Any, ...] = (
    ("*IDN?", "Rohde-Schwarz,ZNB20-2Port,1311601044100005,3.45"),
    ("SYST:ERR?", '0,"No error"'),
    "*CLS",
    ("*OPT?", "ZNB-K2"),
    ("INST:PORT:COUN?", "2"),
    ("SENS1:FREQ:STAR? MIN", "100000"),
    ("SENS1:FREQ:STOP? MAX", "20000000000"),
    ("SOUR1:POW? MIN", "-80"),
    ("SOUR1:POW? MAX", "20"),
    ("SENS1:BAND? MIN", "1"),
    ("SENS1:BAND? MAX", "1000000"),
    ("SENS1:SWE:POIN? MAX", "100001"),
    ("OUTP1?", "0"),
)
NO_ERROR = ("SYST:ERR?", '0,"No error"')
AXIS = np.array([1e9, 1.5e9, 2e9])


def checked(*commands: str) -> tuple[Any, ...]:
    return tuple(line for command in commands for line in (command, NO_ERROR))


def opened(link: Any) -> RohdeSchwarz:
    vna = RohdeSchwarz(AnalyserRules(), "vna", link, timeout_s=1.0)
    link.expect(*OPENING)
    vna.open()
    return vna


def test_segments_one_by_one_and_averages_as_a_count_of_sweeps(scripted_link: Any) -> None:
    vna = opened(scripted_link)
    segments = (Segment(1e9, 1.5e9, 2), Segment(2e9, 2e9, 1))
    scripted_link.expect(
        "*CLS",
        *checked(
            "FORM ASC",
            "INIT:CONT:ALL OFF",
            "CALC1:PAR:SDEF 'labctl_S21','S21'",
            "CALC1:PAR:SEL 'labctl_S21'",
            "SENS1:BAND 1000",
            "SOUR1:POW -20",
            "SENS1:SEGM:DEL:ALL",
            "SENS1:SEGM:INS:SEL DWEL",
            "SENS1:SEGM1:INS 1000000000,1500000000,2,-20,0,0,1000",
            "SENS1:SEGM2:INS 2000000000,2000000000,1,-20,0,0,1000",
            "SENS1:SWE:TYPE SEGM",
            "SENS1:SWE:COUN 5",
            "SENS1:AVER:COUN 5",
            "SENS1:AVER:STAT ON",
            "TRIG1:SOUR IMM",
        ),
        ("SENS1:BAND?", "1000"),
        ("SOUR1:POW?", "-20"),
        ("CALC1:DATA:STIM?", "1000000000,1500000000,2000000000"),
        *checked("FORM REAL,64", "FORM:BORD SWAP"),
        ("FORM?", "REAL,64"),
        ("FORM:BORD?", "SWAP"),
        ("CALC1:DATA:STIM?", AXIS.astype("<f8").tobytes()),
        ("STAT:QUES:INT:HARD?", "8"),
        ("SENS1:CORR:STAT?", "1"),
        ("SENS1:SWE:TIME?", "0.2"),
        ("SENS1:SEGM:SWE:TIME:SUM?", "0.003"),
    )
    vna.configure(Sweep(("S21",), segments, power_dbm=-20.0, if_bandwidth_hz=1000.0, averages=5))
    scripted_link.expect(
        *checked("OUTP1 ON"),
        ("OUTP1?", "1"),
        "SENS1:AVER:CLE",
        "INIT1:IMM",
        ("*OPC?", "1"),
        "CALC1:PAR:SEL 'labctl_S21'",
        ("CALC1:DATA? SDAT", np.ones(3, dtype="<c16").tobytes()),
        NO_ERROR,
        ("STAT:QUES:INT:HARD?", "0"),
    )
    result = vna.sweep()
    assert result.values.tolist() == [[1.0, 1.0, 1.0]]
    assert not result.overload


def test_an_external_trigger_cannot_serve_several_averages(scripted_link: Any) -> None:
    vna = opened(scripted_link)
    sweep = Sweep(("S21",), (Segment(1e9, 2e9, 3),), -20.0, 1000.0, averages=2, trigger="external-rising")
    with pytest.raises(InputError, match="2 averages would take as many trigger edges"):
        vna.configure(sweep)
