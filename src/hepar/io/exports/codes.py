"""The codes that exports speak: SNOMED CT, DICOM's own and UCUM, with the meanings of PS3.16."""

from __future__ import annotations

from typing import Any

from hepar.errors import MissingExtra
from hepar.io.exports.marked import Maker

SNOMED, DICOM, UCUM = "SCT", "DCM", "UCUM"
LIVER = ("10200004", SNOMED, "Liver")
NEOPLASM = ("108369006", SNOMED, "Neoplasm")
ANATOMY = ("91723000", SNOMED, "Anatomical Structure")
ABNORMAL = ("49755003", SNOMED, "Morphologically Abnormal Structure")
VOLUME = ("118565006", SNOMED, "Volume")
LONG_AXIS = ("103339001", SNOMED, "Long axis")
SHORT_AXIS = ("103340004", SNOMED, "Short axis")
ATTENUATION = ("112031", DICOM, "Attenuation Coefficient")
MEAN = ("373098007", SNOMED, "Mean")
CT = ("25045-6", "LN", "CT unspecified body region")
COMMENT = ("121106", DICOM, "Comment")
# A cubic centimetre is a millilitre; it is the one that CID 7462, units of volume, lists.
ML, MM, HU = ("cm3", UCUM, "cubic centimeter"), ("mm", UCUM, "mm"), ("[hnsf'U]", UCUM, "Hounsfield unit")
INTELLIGENCE = ("123110", DICOM, "Artificial Intelligence")
# No standard code says whether tumours were looked for; 99 begins the name of a private scheme.
ASSESSMENT = ("TUMOUR_ASSESS", "99HEPAR", "Tumour assessment")
ASSESSED = ("ASSESSED", "99HEPAR", "Assessed")
NOT_ASSESSED = ("NOT_ASSESSED", "99HEPAR", "Not assessed")


def require_highdicom() -> None:
    """Raises MissingExtra without it."""
    try:
        import highdicom.seg  # noqa: F401
    except ImportError as error:
        raise MissingExtra("writing DICOM SEG and SR needs highdicom; `pip install hepar[dicom]` brings it") from error


def concept(code: tuple[str, str, str]) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(*code)


def algorithm(maker: Maker) -> Any:
    """Which program and model drew it (PS3.3 10.16)."""
    from highdicom import AlgorithmIdentificationSequence

    return AlgorithmIdentificationSequence(
        name=maker.model[:64], family=concept(INTELLIGENCE), version=maker.version, source="hepar"
    )
