from __future__ import annotations

import pytest
from pydicom.sr.codedict import codes

from masg_sam.data.io.dicom import anatomy
from masg_sam.data.io.dicom.anatomy import ABNORMAL, LEFT, RIGHT, STRUCTURE, TISSUE, SegmentCodes, codes_of

UNKNOWN_TO_PYDICOM = {"41329004"}  # Polyp


def standard() -> dict[str, set[str]]:
    """Meanings of SNOMED CT codes, as pydicom took them from the standard."""
    found: dict[str, set[str]] = {}
    for name in codes.SCT.dir():
        code = getattr(codes.SCT, name)
        found.setdefault(code.value, set()).add(code.meaning.lower())
    return found


def test_every_code_is_that_of_the_standard() -> None:
    known = standard()
    tables = (anatomy.STRUCTURES, anatomy.TISSUES, anatomy.ABNORMALITIES)
    terms = [term for table in tables for term in table.values()] + [STRUCTURE, TISSUE, ABNORMAL, LEFT, RIGHT]
    assert len(terms) > 60
    for term in terms:
        if term.value not in UNKNOWN_TO_PYDICOM:
            assert term.meaning.lower() in known[term.value]


@pytest.mark.parametrize(
    ("name", "value", "side"),
    [
        ("Liver", "10200004", None),
        ("left atrium", "82471001", None),
        ("left kidney", "64033007", LEFT),
        ("Kidney_R", "64033007", RIGHT),
        ("kidneys", "64033007", None),
        ("LeftParotid", "45289007", LEFT),
        ("SpinalCord", "2748008", None),
        ("Brainstem", "119238007", None),
        ("brain-stem", "119238007", None),
        ("Oesophagus", "32849002", None),
        ("hippocampus right", "5366008", RIGHT),
        ("right lung", "39607008", RIGHT),
    ],
)
def test_names_as_people_write_them(name: str, value: str, side: anatomy.Term | None) -> None:
    found = codes_of(name)
    assert (found.category, found.kind.value, found.side) == (STRUCTURE, value, side)


def test_tissues_growths_and_the_rest() -> None:
    assert codes_of("Gray Matter") == SegmentCodes(TISSUE, anatomy.TISSUES["grey matter"])
    assert codes_of("polyp").category == ABNORMAL and codes_of("Tumour").kind.value == "108369006"
    assert codes_of("class 3") == codes_of("Vorhofohr") == SegmentCodes(TISSUE, STRUCTURE)
    assert codes_of("left thing") == SegmentCodes(TISSUE, STRUCTURE, LEFT)
    assert codes_of("") == SegmentCodes(TISSUE, STRUCTURE)
