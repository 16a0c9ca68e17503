"""The ENA driver's conversations, line by line."""

from typing import Any

import numpy as np
import pytest
from labctl_drivers.vna.keysight_ena import KeysightEna
from labctl_drivers.vna.settings import AnalyserRules

from labctl.contract.errors import InputError
from labctl.contract.microwave import Segment, Sweep

OPENING: tuple[Any, ...] = (
    ("*IDN?", "Agilent Technologies,E5071C,MY46100001,A.11.31"),
    (":SYST:ERR?", '+0,"No error"'),
    "*CLS",
    ("*OPT?", "480"),
    (":SERV:PORT:COUN?", "+4"),
    (":SERV:SWE:FREQ:MIN?", "+9.00000000000E+03"),
    (":SERV:SWE:FREQ:MAX?", "+8.50000000000E+09"),
    (":OUTP?", "0"),
)
NO_ERROR = (":SYST:ERR?", '+0,"No error"')
AXIS = np.array([1e9, 1.5e9, 2e9])
SWEEP = Sweep(("S11", "S21"), (Segment(1e9, 2e9, 3),), power_dbm=-20.0, if_bandwidth_hz=1e4, averages=8)
AGREEING: tuple[Any, ...] = (
    (":SENS1:FREQ:DATA?", "+1.00000000000E+09,+1.50000000000E+09,+2.00000000000E+09"),
    ":FORM:DATA REAL",
    NO_ERROR,
    ":FORM:BORD SWAP",
    NO_ERROR,
    (":FORM:DATA?", "REAL"),
    (":FORM:BORD?", "SWAP"),
    (":SENS1:FREQ:DATA?", AXIS.astype("<f8").tobytes()),
    (":SENS1:CORR:STAT?", "1"),
    (":SENS1:SWE:TIME?", "+1.20000000000E-03"),
)


def checked(*commands: str) -> tuple[Any, ...]:
    return tuple(line for command in commands for line in (command, NO_ERROR))


def opened(link: Any) -> KeysightEna:
    vna = KeysightEna(AnalyserRules(), "vna", link, timeout_s=1.0)
    link.expect(*OPENING)
    vna.open()
    return vna


def test_averages_within_one_trigger(scripted_link: Any) -> None:
    vna = opened(scripted_link)
    scripted_link.expect(
        "*CLS",
        *checked(
            ":FORM:DATA ASC",
            ":INIT1:CONT OFF",
            ":ABOR",
            ":CALC1:PAR:COUN 2",
            ":CALC1:PAR1:DEF S11",
            ":CALC1:PAR2:DEF S21",
            ":SENS1:SWE:TYPE LIN",
            ":SENS1:FREQ:STAR 1000000000",
            ":SENS1:FREQ:STOP 2000000000",
            ":SENS1:SWE:POIN 3",
            ":SENS1:BAND:RES 10000",
            ":SOUR1:POW -20",
            ":SENS1:AVER:COUN 8",
            ":SENS1:AVER:STAT ON",
            ":TRIG:SEQ:AVER ON",
            ":TRIG:SOUR BUS",
            ":INIT1:CONT ON",
        ),
        (":SENS1:SWE:POIN?", "+3"),
        (":SENS1:BAND:RES?", "+1.00000000000E+04"),
        (":SOUR1:POW?", "-2.00000000000E+01"),
        *AGREEING,
    )
    vna.configure(SWEEP)
    values = np.array([[0.1 + 0.2j, -0.3j, 0.5], [1j, 2.0, 3.0]])
    scripted_link.expect(
        *checked(":OUTP ON"),
        (":OUTP?", "1"),
        ":SENS1:AVER:CLE",
        ":TRIG:SING",
        ("*OPC?", "+1"),
        ":CALC1:PAR1:SEL",
        (":CALC1:SEL:DATA:SDAT?", values[0].astype("<c16").tobytes()),
        ":CALC1:PAR2:SEL",
        (":CALC1:SEL:DATA:SDAT?", values[1].astype("<c16").tobytes()),
        NO_ERROR,
    )
    assert vna.sweep().values.tolist() == values.tolist()


def test_segments_and_the_polled_end_of_an_external_trigger(scripted_link: Any) -> None:
    vna = opened(scripted_link)
    sweep = Sweep(
        ("S21",), tuple(Segment(f, f, 1) for f in AXIS), power_dbm=-20.0, if_bandwidth_hz=1e4, trigger="external-rising"
    )
    scripted_link.expect(
        "*CLS",
        *checked(
            ":FORM:DATA ASC",
            ":INIT1:CONT OFF",
            ":ABOR",
            ":CALC1:PAR:COUN 1",
            ":CALC1:PAR1:DEF S21",
            ":SENS1:SEGM:DATA 5,0,0,0,0,0,3,1000000000,1000000000,1,1500000000,1500000000,1,2000000000,2000000000,1",
            ":SENS1:SWE:TYPE SEGM",
            ":SENS1:BAND:RES 10000",
            ":SOUR1:POW -20",
            ":SENS1:AVER:COUN 1",
            ":SENS1:AVER:STAT OFF",
            ":TRIG:SEQ:AVER OFF",
            ":TRIG:SOUR EXT",
            ":TRIG:EXT:SLOP POS",
        ),
        (":SENS1:BAND:RES?", "+1.00000000000E+04"),
        (":SOUR1:POW?", "-2.00000000000E+01"),
        *AGREEING,
    )
    vna.configure(sweep)
    scripted_link.expect(
        *checked(":OUTP ON"),
        (":OUTP?", "1"),
        *checked(":INIT1"),
        (":STAT:OPER:COND?", "+32"),
        (":STAT:OPER:COND?", "+16"),
        (":STAT:OPER:COND?", "+0"),
        ":CALC1:PAR1:SEL",
        (":CALC1:SEL:DATA:SDAT?", np.zeros(3, dtype="<c16").tobytes()),
        NO_ERROR,
    )
    assert not vna.sweep().values.any()


@pytest.mark.parametrize(
    ("segments", "complaint"),
    [
        ((Segment(1e9, 2e9, 3), Segment(1.5e9, 3e9, 3)), "without overlap"),
        (tuple(Segment(1e9 + n, 1e9 + n, 1) for n in range(202)), "202 segments are more than 201"),
    ],
)
def test_what_an_ena_cannot_sweep_is_refused_before_anything_is_sent(
    scripted_link: Any, segments: tuple[Segment, ...], complaint: str
) -> None:
    vna = opened(scripted_link)
    with pytest.raises(InputError, match=complaint):
        vna.configure(Sweep(("S21",), segments, power_dbm=-20.0, if_bandwidth_hz=1e4))
