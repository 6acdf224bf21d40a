"""Coded terms for class names: which SNOMED CT concept a segment shows, as DICOM viewers and archives want it."""

from __future__ import annotations

import re
from dataclasses import dataclass

SCHEME = "SCT"  # SNOMED CT, as DICOM PS3.16 names it


@dataclass(frozen=True)
class Term:
    """A coded concept.

    Attributes:
        value: its code.
        meaning: in words.
    """

    value: str
    meaning: str


@dataclass(frozen=True)
class SegmentCodes:
    """What a segment is.

    Attributes:
        category: of DICOM's context group 7150.
        kind: the structure itself.
        side: left or right; ``None`` where the name does not say.
    """

    category: Term
    kind: Term
    side: Term | None = None


STRUCTURE = Term("91723000", "Anatomical Structure")
TISSUE = Term("85756007", "Tissue")
ABNORMAL = Term("49755003", "Morphologically Abnormal Structure")
LEFT, RIGHT = Term("7771000", "Left"), Term("24028007", "Right")

STRUCTURES = {
    "left atrium": Term("82471001", "Left atrium"),
    "right atrium": Term("73829009", "Right atrium"),
    "left ventricle": Term("87878005", "Left ventricle"),
    "right ventricle": Term("53085002", "Right ventricle"),
    "adrenal gland": Term("23451007", "Adrenal gland"),
    "amygdala": Term("4958002", "Amygdala"),
    "aorta": Term("15825003", "Aorta"),
    "bladder": Term("89837001", "Bladder"),
    "bone": Term("272673000", "Bone"),
    "brain": Term("12738006", "Brain"),
    "brainstem": Term("119238007", "Brain Stem"),
    "breast": Term("76752008", "Breast"),
    "caudate nucleus": Term("11000004", "Caudate Nucleus"),
    "cerebellum": Term("113305005", "Cerebellum"),
    "colon": Term("71854001", "Colon"),
    "duodenum": Term("38848004", "Duodenum"),
    "esophagus": Term("32849002", "Esophagus"),
    "eye": Term("81745001", "Eye"),
    "femur": Term("71341001", "Femur"),
    "gallbladder": Term("28231008", "Gallbladder"),
    "heart": Term("80891009", "Heart"),
    "hippocampus": Term("5366008", "Hippocampus"),
    "humerus": Term("85050009", "Humerus"),
    "inferior vena cava": Term("64131007", "Inferior vena cava"),
    "kidney": Term("64033007", "Kidney"),
    "larynx": Term("4596009", "Larynx"),
    "lens": Term("78076003", "Lens"),
    "liver": Term("10200004", "Liver"),
    "lung": Term("39607008", "Lung"),
    "mandible": Term("91609006", "Mandible"),
    "optic chiasm": Term("244453006", "Optic chiasm"),
    "optic nerve": Term("18234004", "Optic nerve"),
    "oral cavity": Term("74262004", "Oral cavity"),
    "pancreas": Term("15776009", "Pancreas"),
    "parotid gland": Term("45289007", "Parotid gland"),
    "portal vein": Term("32764006", "Portal vein"),
    "prostate": Term("41216001", "Prostate"),
    "putamen": Term("89278009", "Putamen"),
    "rectum": Term("34402009", "Rectum"),
    "rib": Term("113197003", "Rib"),
    "sacrum": Term("54735007", "Sacrum"),
    "seminal vesicle": Term("64739004", "Seminal Vesicle"),
    "small intestine": Term("30315005", "Small intestine"),
    "spinal cord": Term("2748008", "Spinal cord"),
    "spleen": Term("78961009", "Spleen"),
    "sternum": Term("56873002", "Sternum"),
    "stomach": Term("69695003", "Stomach"),
    "submandibular gland": Term("54019009", "Submandibular gland"),
    "thalamus": Term("42695009", "Thalamus"),
    "thyroid": Term("69748006", "Thyroid"),
    "trachea": Term("44567001", "Trachea"),
    "uterus": Term("35039007", "Uterus"),
    "vertebra": Term("51282000", "Vertebra"),
}
TISSUES = {
    "cerebrospinal fluid": Term("65216001", "Cerebrospinal Fluid"),
    "fat": Term("55603005", "Fat"),
    "grey matter": Term("389081007", "Gray Matter"),
    "muscle": Term("71616004", "Muscle"),
    "white matter": Term("389080008", "White Matter"),
}
ABNORMALITIES = {
    "cyst": Term("367643001", "Cyst"),
    "edema": Term("79654002", "Edema"),
    "lesion": Term("52988006", "Lesion"),
    "necrosis": Term("6574001", "Necrosis"),
    "nodule": Term("27925004", "Nodule"),
    "polyp": Term("41329004", "Polyp"),
    "tumor": Term("108369006", "Tumor"),
}
ALIASES = {
    "brain stem": "brainstem",
    "csf": "cerebrospinal fluid",
    "gray matter": "grey matter",
    "oesophagus": "esophagus",
    "oedema": "edema",
    "parotid": "parotid gland",
    "submandibular": "submandibular gland",
    "thyroid gland": "thyroid",
    "tumour": "tumor",
    "urinary bladder": "bladder",
}
SIDES = {"left": LEFT, "l": LEFT, "right": RIGHT, "r": RIGHT}
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


def codes_of(name: str) -> SegmentCodes:
    """The codes of a class: by its name where the tables have it, else a tissue, some anatomical structure.

    Args:
        name: ``left kidney``, ``Kidney_L``, ``SpinalCord`` ...
    """
    words = [word.lower() for word in WORDS.findall(name)]
    whole = _found(" ".join(words), None)
    if whole is not None:
        return whole
    side = next((SIDES[word] for word in (*words[:1], *words[-1:]) if word in SIDES), None)
    bare = " ".join(word for word in words if word not in SIDES)
    return _found(bare, side) or SegmentCodes(TISSUE, STRUCTURE, side)


def _found(name: str, side: Term | None) -> SegmentCodes | None:
    name = ALIASES.get(name, name)
    for table, category in ((STRUCTURES, STRUCTURE), (TISSUES, TISSUE), (ABNORMALITIES, ABNORMAL)):
        for form in (name, name.removesuffix("s")):
            if form in table:
                return SegmentCodes(category, table[form], side)
    return None
