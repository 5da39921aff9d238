"""What file names and label names say: which case, and which of background, liver and tumour."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hepar.volume import BACKGROUND, LIVER, TUMOUR

LABEL_ENDINGS = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr")
ENDINGS = (*LABEL_ENDINGS, ".dcm")
# What data sets and tools put around a case's name. LiTS: volume-7, segmentation-7, test-segmentation-7.
# MONAI's SaveImage adds _trans unless told otherwise, its bundles _seg.
PREFIXES = ("test-", "volume-", "segmentation-")
SUFFIXES = (
    "_label", "_labels", "_seg", "_segmentation", "_trans", "_ct", "_liver", "_pred", "_prediction", "_mask",
)  # fmt: skip

LIVER_WORDS = {"liver", "livers", "hepatic", "hepar"}
TUMOUR_WORDS = {
    "tumour", "tumours", "tumor", "tumors", "lesion", "lesions", "cancer", "cancers", "carcinoma", "hcc", "icc",
    "metastasis", "metastases", "mass", "masses", "neoplasm", "neoplasms", "malignancy",
}  # fmt: skip
# With one of these it is something in, at or beside the liver.
PART_WORDS = {
    "vessel", "vessels", "vein", "veins", "venous", "portal", "artery", "arteries", "arterial", "vasculature", "duct",
    "ducts", "cyst", "cysts", "kyst", "kysts", "gallbladder", "flexure", "ligament", "background", "outside",
    "without", "non", "not", "no", "ignore", "except",
}  # fmt: skip
# A tumour of one of these, or the organ itself, is not ours unless the liver is named too ("metastasis colon liver").
OTHER_ORGANS = {
    "kidney", "renal", "pancreas", "pancreatic", "lung", "lungs", "pulmonary", "colon", "colorectal", "rectal",
    "spleen", "splenic", "brain", "bone", "adrenal", "prostate", "bladder", "stomach", "gastric", "breast", "head",
    "neck", "lymph", "node", "nodes", "nodal", "oesophagus", "esophagus", "duodenum", "bowel", "uterus", "ovary",
    "skin", "muscle", "fat", "heart", "cardiac", "thyroid", "spine", "vertebra", "rib",
}  # fmt: skip
# "liver and tumour", "liver incl. tumour": the union, which is the liver.
UNION_WORDS = {"and", "with", "incl", "including", "plus", "or", "union"}
# What else the name of a file that holds one class may say.
CLASS_WORDS = {"all", "whole", "total", "primary", "parenchyma"}


def case_id(name: str) -> str:
    """The case a label file belongs to: its name without ending and known prefixes and suffixes."""
    stem = stem_of(name)
    shorter = stem
    for prefix in PREFIXES:
        shorter = shorter.removeprefix(prefix) or shorter
    for suffix in SUFFIXES:
        shorter = shorter.removesuffix(suffix) or shorter
    # Tools add to each other's names: ircad01_ct becomes ircad01_ct_seg.
    return stem if shorter == stem else case_id(shorter)


def stem_of(name: str) -> str:
    return next((name[: -len(end)] for end in ENDINGS if name.lower().endswith(end)), name)


def is_label_file(name: str) -> bool:
    """True for endings that hold voxels; not for hidden files nor macOS's `._` companions."""
    return name.lower().endswith(LABEL_ENDINGS) and not name.startswith(".")


def natural_order(case: str) -> tuple[tuple[int, int, str], ...]:
    """A key that puts 2 before 10, and a2 before a10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", case)
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts)


def plain(name: str) -> str:
    """A label's name for comparison: lower case, words joined by one blank."""
    return " ".join(words(name))


def words(name: str) -> list[str]:
    """`LiverTumor_2`, `liver-tumor 2` and `livertumor2` all give liver, tumor, 2."""
    found: list[str] = []
    for word in re.findall(r"[a-z]+|[0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()):
        joined = word.startswith("liver") and word not in LIVER_WORDS
        found += ["liver", word.removeprefix("liver")] if joined else [word]
    return found


def structure_of(name: str) -> int:
    """Which label a name stands for: LIVER, TUMOUR, or BACKGROUND for everything else.

    Vessels, ducts and cysts of the liver, other organs and their tumours are
    BACKGROUND; liver and tumour in one name ("liver incl. tumour") is LIVER.
    """
    said = set(words(name))
    liver, tumour = bool(said & LIVER_WORDS), bool(said & TUMOUR_WORDS)
    if said & PART_WORDS or (said & OTHER_ORGANS and not (liver and tumour)):
        return BACKGROUND
    if tumour and not (liver and said & UNION_WORDS):
        return TUMOUR
    return LIVER if liver else BACKGROUND


def is_of_another_organ(name: str) -> bool:
    said = set(words(name))
    return bool(said & OTHER_ORGANS) and not said & LIVER_WORDS


def is_class_name(stem: str) -> bool:
    """True when a file's stem is nothing but the name of liver or tumour, so that it cannot name a case."""
    said = words(stem)
    # TotalSegmentator's task liver_segments writes liver_segment_1 to liver_segment_8.
    if len(said) == 3 and said[:2] == ["liver", "segment"] and said[2].isdecimal():
        return True
    return structure_of(stem) != BACKGROUND and set(said) <= LIVER_WORDS | TUMOUR_WORDS | CLASS_WORDS


@dataclass(frozen=True)
class LabelNames:
    """What a file or data set calls its label values: (value, name) pairs; `complete` unless some may be left out.

    A value can have several names: nnU-Net's regions give liver [1, 2] and tumour [2].
    """

    pairs: tuple[tuple[int, str], ...]
    complete: bool = True

    def structures(self) -> dict[int, int]:
        """Label by value, as the names say; empty when no name stands for liver or tumour."""
        said: dict[int, int] = {}
        for value, name in self.pairs:
            said[value] = max(said.get(value, BACKGROUND), structure_of(name))
        return said if any(said.values()) else {}

    def values_of(self, name: str) -> list[int]:
        """The values that bear exactly this name, whatever its case and separators."""
        return [value for value, other in self.pairs if plain(other) == plain(name)]

    def told(self, most: int = 8) -> str:
        shown = [f"{value} {name}" for value, name in self.pairs[:most]]
        return ", ".join(shown) + (f" and {len(self.pairs) - most} more" if len(self.pairs) > most else "")


def some(names: Iterable[str], most: int = 5) -> str:
    """Names for a message, the rest as a number."""
    known = list(names)
    return ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")
