"""Unique identifiers from content: the same content has the same UID on any machine, at any time.

DICOM lets a UUID be a UID under the root 2.25 (PS3.5 B.2); a UUID of version 5
is the hash of a name (RFC 9562).
"""

from __future__ import annotations

import uuid

# Any fixed UUID: it keeps our names apart from others' under the same scheme.
OURS = uuid.UUID("6f0c2b7e-3a53-5d2e-9b63-7c0a4e1d8f52")


def uid_from(*parts: str) -> str:
    """The UID of some texts in their order; at most 44 characters."""
    # Lengths first: ("ab", "c") and ("a", "bc") are different names.
    name = "".join(f"{len(part)}:{part}" for part in parts)
    return f"2.25.{uuid.uuid5(OURS, name).int}"
