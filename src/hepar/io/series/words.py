"""What the free text of a series says, as words of a fixed list.

Descriptions may name a patient. So they are looked at once, while a header is
read, and only words of this list are kept.
"""

from __future__ import annotations

import re
import unicodedata

# English, German, French, Italian and Spanish; on text without accents, in lower case, with spaces for punctuation.
PATTERNS = {
    "native": r"nativ[ea]?|plain|unenhanced|(?:non|no|pre|without|w ?o) ?contrast|non ?enhanced|ohne km|"
    r"sans (?:injection|contraste|iv|pdc)|sin contraste|basale?",
    "arterial": r"arteri\w*|art(?: ?phase| ?ph)?|hap|late art",
    "portal": r"porto?|portal\w*|portoven\w*|pvp?|hepatic venous",
    "venous": r"venous|venos\w*|ven|veineu(?:x|se)",
    "delayed": r"delay(?:ed)?|spat\w*|tardi\w*|equilibrium|excretory|late(?! art)|washout|[3-9] ?min|1[05] ?min",
    "contrast": r"km|ce|enhanced|contraste?|avec injection",
    "lung": r"lung\w*|lunge|poumons?|pulmo\w*|polmon\w*|hrct",
    "bone": r"bones?|knochen|os|osseux|hueso|ossa|spine|wirbel\w*",
    "projection": r"mip|minip|average|avg ip|vrt?|3d|thick mip",
    "coronal": r"cor|coronal\w*|koronar\w*|frontal\w*",
    "sagittal": r"sag|sagittal\w*",
    "scout": r"scout|topogram\w*|localiser|localizer|surview|scanogram",
    "monitoring": r"monitoring|premonitoring|smart ?prep|bolus(?: ?tracking)?|test ?bolus|roi|tracker|sure ?start",
    "head": r"head|brain|kopf|schadel|cerebr\w*|crane|cranio|hals|neck|sinus",
    "chest": r"chest|thorax|thoracique|torace|torax",
    "abdomen": r"abd|abdo\w*|abdomen\w*|liver|leber|foie|fegato|higado|hepat\w*|oberbauch|upper abd",
    "legs": r"legs?|knee|knie|foot|fuss|runoff|extremit\w*",
}
COMPILED = {word: re.compile(rf"\b(?:{pattern})\b") for word, pattern in PATTERNS.items()}


def words_in(text: str) -> frozenset[str]:
    """Which of the listed words a description says, whatever its language, case and punctuation.

    "late arterial" is arterial, not delayed; "non contrast" is native and no contrast.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    spaced = " ".join(re.findall(r"[a-z]+|\d+", plain))
    found = {word for word, pattern in COMPILED.items() if pattern.search(spaced)}
    if "native" in found:
        found.discard("contrast")
    if "portal" in found:
        found.add("venous")
    return frozenset(found)


# Kernels by maker: Siemens (B30f, Br38d, I31f), GE (STANDARD), Philips (A to C), Canon (FC01 to FC19).
SOFT_KERNEL = r"[a-z]{1,2}[1-4]\d[a-z]?\d?|standard|stnd?|soft|chest|[abc]|ya|yb|is?md?|fc[01]\d|body|abdomen"
SHARP_KERNEL = r"[a-z]{1,2}[5-9]\d[a-z]?\d?|lung|bone(?:plus)?|edge|detail|ultra|[del]|y[cde]|fc[3-8]\d|hd ?bone\w*"


def kernel_kind(kernel: str) -> str:
    """`soft`, `sharp` (lung or bone) or `unknown` of a ConvolutionKernel."""
    name = kernel.strip().lower()
    if re.fullmatch(SHARP_KERNEL, name):
        return "sharp"
    return "soft" if re.fullmatch(SOFT_KERNEL, name) else "unknown"
