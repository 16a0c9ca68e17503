"""The PNA driver's conversations, line by line."""

from typing import Any

import numpy as np
import pytest
from labctl_drivers.vna.keysight_pna import KeysightPna, KeysightPnaRules

from labctl.contract.errors import InstrumentError
from labctl.contract.microwave import Segment, Sweep

OPENING: tuple[Any, ...] = (
    ("*IDN?", "Keysight Technologies,N5242B,MY1,A.15"),
    ("SYST:ERR?", '+0,"No error"'),
    "*CLS",
    ("*OPT?", '"423"'),
    ("SYST:CAP:HARD:PORT:INT:COUN?", "4"),
    ("SENS1:FREQ:STAR? MIN", "+1.00000000000E+007"),
    ("SENS1:FREQ:STOP? MAX", "+2.65000000000E+010"),
    ("SOUR1:POW1? MIN", "-3.00000000000E+001"),
    ("SOUR1:POW1? MAX", "+3.00000000000E+001"),
    ("SENS1:BAND? MIN", "+1.00000000000E+000"),
    ("SENS1:BAND? MAX", "+1.50000000000E+007"),
    ("SENS1:SWE:POIN? MAX", "+100001"),
    ("OUTP?", "0"),
)
NO_ERROR = ("SYST:ERR?", '+0,"No error"')
SWEEP = Sweep(("S21",), (Segment(1e9, 2e9, 3),), power_dbm=-20.0, if_bandwidth_hz=1e4)
AXIS = np.array([1e9, 1.5e9, 2e9])
AGREEING: tuple[Any, ...] = (
    ("CALC1:X?", "+1.00000000000E+009,+1.50000000000E+009,+2.00000000000E+009"),
    "FORM REAL,64",
    NO_ERROR,
    "FORM:BORD SWAP",
    NO_ERROR,
    ("FORM?", "REAL,+64"),
    ("FORM:BORD?", "SWAP"),
    ("CALC1:X?", AXIS.astype("<f8").tobytes()),
    ("SENS1:CORR:STAT?", "1"),
    ("SENS1:CORR:CSET:ACT? NAME", '"2port"'),
    ("SENS1:SWE:TIME?", "+3.00000000000E-004"),
)


def checked(*commands: str) -> tuple[Any, ...]:
    return tuple(line for command in commands for line in (command, NO_ERROR))


def analyser(link: Any, **rules: Any) -> KeysightPna:
    return KeysightPna(KeysightPnaRules.model_validate(rules), "vna", link, timeout_s=1.0)


def test_a_linear_sweep(scripted_link: Any) -> None:
    vna = analyser(scripted_link)
    scripted_link.expect(*OPENING)
    vna.open()
    scripted_link.expect(
        "*CLS",
        *checked("FORM ASC,0", "SENS1:SWE:MODE HOLD"),
        ("CALC1:PAR:CAT:EXT?", '"CH1_S11_1,S11"'),
        *checked(
            "CALC1:PAR:EXT 'labctl_S21',S21",
            "CALC1:PAR:SEL 'labctl_S21'",
            "SENS1:SWE:TYPE LIN",
            "SENS1:FREQ:STAR 1000000000",
            "SENS1:FREQ:STOP 2000000000",
            "SENS1:SWE:POIN 3",
            "SENS1:BAND 10000",
            "SOUR1:POW:COUP ON",
            "SOUR1:POW1 -20",
            "SENS1:AVER OFF",
            "TRIG:SOUR IMM",
        ),
        ("SENS1:SWE:POIN?", "+3"),
        ("SENS1:BAND?", "+1.00000000000E+004"),
        ("SOUR1:POW1?", "-2.00000000000E+001"),
        *AGREEING,
    )
    assert vna.configure(SWEEP).tolist() == AXIS.tolist()
    values = np.array([0.1 + 0.2j, -0.3j, 0.5])
    scripted_link.expect(
        "OUTP ON",
        NO_ERROR,
        ("OUTP?", "1"),
        "SENS1:SWE:MODE SING",
        ("*OPC?", "+1"),
        NO_ERROR,
        "CALC1:PAR:SEL 'labctl_S21'",
        ("CALC1:DATA? SDATA", values.astype("<c16").tobytes()),
        NO_ERROR,
    )
    assert vna.sweep().values.tolist() == [values.tolist()]
    scripted_link.expect("OUTP OFF", "SENS1:SWE:MODE HOLD", "ABOR", ("OUTP?", "0"))
    vna.make_safe()


def test_a_list_of_frequencies_and_an_external_trigger_at_a_named_connector(scripted_link: Any) -> None:
    vna = analyser(scripted_link, trigger_input="REAR1")
    scripted_link.expect(*OPENING)
    vna.open()
    listed = Sweep(("S21",), tuple(Segment(f, f, 1) for f in AXIS), -20.0, 1e4, trigger="external-falling")
    scripted_link.expect(
        "*CLS",
        *checked("FORM ASC,0", "SENS1:SWE:MODE HOLD"),
        ("CALC1:PAR:CAT:EXT?", '"CH1_S11_1,S11,labctl_S21,S21"'),
        *checked(
            "CALC1:PAR:SEL 'labctl_S21'",
            "SENS1:SEGM:DEL:ALL",
            "SENS1:SEGM:ARB ON",
            "SENS1:SEGM:BWID:CONT OFF",
            "SENS1:SEGM:POW:CONT OFF",
            "SENS1:SEGM:LIST SSTOP,3,1,1,1000000000,1000000000,10000,0,-20,1,1,1500000000,1500000000,10000,0,-20,"
            "1,1,2000000000,2000000000,10000,0,-20",
            "SENS1:SWE:TYPE SEGM",
            "SENS1:BAND 10000",
            "SOUR1:POW:COUP ON",
            "SOUR1:POW1 -20",
            "SENS1:AVER OFF",
            "TRIG:ROUTE:INP REAR1",
            "TRIG:TYPE EDGE",
            "TRIG:SLOP NEG",
            "TRIG:SCOP ALL",
            "TRIG:SOUR EXT",
        ),
        ("SENS1:BAND?", "+1.00000000000E+004"),
        ("SOUR1:POW1?", "-2.00000000000E+001"),
        *AGREEING,
    )
    assert vna.configure(listed).tolist() == AXIS.tolist()


def test_the_error_names_the_command_that_was_refused(scripted_link: Any) -> None:
    vna = analyser(scripted_link)
    scripted_link.expect(*OPENING)
    vna.open()
    scripted_link.expect(
        "*CLS",
        "FORM ASC,0",
        ("SYST:ERR?", '-224,"Illegal parameter value"'),
        ("SYST:ERR?", '-100,"Command error"'),
        NO_ERROR,
        "OUTP OFF",
        "SENS1:SWE:MODE HOLD",
        "ABOR",
        ("OUTP?", "0"),
    )
    with pytest.raises(InstrumentError, match=r"Illegal.*; -100.*during FORM ASC,0") as error:
        vna.configure(SWEEP)
    assert error.value.command == "FORM ASC,0"
