"""The node as a service class user: C-STORE, C-FIND of counts, C-ECHO."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hepar.errors import OutputError
from hepar.service.node.settings import Peer

SUCCESS, DUPLICATE = 0x0000, 0x0111
# Coerced, elements discarded, or data set does not match: stored all the same (PS3.4 B.2.3).
STORED_WITH_WARNING = (0xB000, 0xB006, 0xB007)
PENDING = (0xFF00, 0xFF01)
VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"


def store(peer: Peer, calling: str, path: Path) -> None:
    """Send one file. Raises OutputError unless the peer says that it has it; having it already is as good."""
    from pydicom import dcmread

    meta = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"]).file_meta
    wanted = [(str(meta.MediaStorageSOPClassUID), [str(meta.TransferSyntaxUID)])]
    with _association(peer, calling, wanted) as association:
        # pynetdicom raises ValueError where the peer accepted no fitting context.
        try:
            status = association.send_c_store(path).get("Status")
        except ValueError:
            raise OutputError(f"'{peer.name}' does not take objects of this kind; ask its administrator") from None
    if status is None:
        raise OutputError(f"'{peer.name}' broke off")
    if status not in (SUCCESS, DUPLICATE, *STORED_WITH_WARNING):
        raise OutputError(f"'{peer.name}' answered {status:04X}")


def echo(peer: Peer, calling: str) -> None:
    """Raises OutputError where the peer does not answer well."""
    with _association(peer, calling, [(VERIFICATION, [])]) as association:
        status = association.send_c_echo().get("Status")
    if status != SUCCESS:
        raise OutputError(f"'{peer.name}' answered {'nothing' if status is None else f'{status:04X}'}")


def count_slices(peer: Peer, calling: str, study: str, series: str) -> int:
    """How many instances the peer holds of a series; 0 where it knows none. Raises OutputError."""
    with _association(peer, calling, [(STUDY_ROOT_FIND, [])]) as association:
        rows = _found(peer, association, "SERIES", study, series)
        told = [int(row.get("NumberOfSeriesRelatedInstances") or 0) for row in rows]
        # The number is optional in answers; instances themselves are not.
        return max(told) if any(told) else len(_found(peer, association, "IMAGE", study, series))


def _found(peer: Peer, association: Any, level: str, study: str, series: str) -> list[Any]:
    from pydicom.dataset import Dataset

    asked = Dataset()
    asked.QueryRetrieveLevel = level
    asked.StudyInstanceUID, asked.SeriesInstanceUID = study, series
    if level == "SERIES":
        asked.NumberOfSeriesRelatedInstances = None
    else:
        asked.SOPInstanceUID = ""
    rows = []
    for status, row in association.send_c_find(asked, STUDY_ROOT_FIND):
        code = status.get("Status")
        if code in PENDING:
            rows.append(row)
        elif code != SUCCESS:
            raise OutputError(f"'{peer.name}' answered {'nothing' if code is None else f'{code:04X}'} to a query")
    return rows


@contextmanager
def _association(peer: Peer, calling: str, wanted: Sequence[tuple[str, list[str]]]) -> Iterator[Any]:
    from pynetdicom import AE

    entity = AE(ae_title=calling)
    for what, syntaxes in wanted:
        entity.add_requested_context(what, syntaxes or None)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = peer.timeout_seconds
    secure = (client_context(peer), peer.host) if peer.tls else None
    association = entity.associate(peer.host, peer.port, ae_title=peer.ae_title, tls_args=secure)
    if not association.is_established:
        why = "rejected the association" if association.is_rejected else "cannot be reached"
        raise OutputError(f"'{peer.name}' {why}")
    try:
        yield association
    finally:
        association.release()


def client_context(peer: Peer) -> ssl.SSLContext:
    """Raises OutputError where the file of the authority cannot be used."""
    try:
        return ssl.create_default_context(cafile=peer.authority)
    except OSError as error:
        raise OutputError(f"the authority of '{peer.name}' cannot be read ({error.strerror})") from error
