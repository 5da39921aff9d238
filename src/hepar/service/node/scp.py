"""The service class provider: C-ECHO, and C-STORE of CT Image Storage, for callers on the list."""

from __future__ import annotations

import logging
import re
import ssl
from typing import Any

from hepar.io.series.diagnosis import SYNTAX_ROOT, SYNTAXES
from hepar.service.node.audit import Audit
from hepar.service.node.inbox import NO_MATCH, NOT_UNDERSTOOD, Inbox, Instance, Refused
from hepar.service.node.settings import NodeSettings, Tls

log = logging.getLogger("hepar")
CT_IMAGE, VERIFICATION = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.1"
# Explicit and implicit little endian, then what the reader decodes; slices are kept as they come.
PLAIN = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2")
COMPRESSED = tuple(f"{SYNTAX_ROOT}{number}" for number, (_, _, readable) in SYNTAXES.items() if readable)
UID = re.compile(r"[0-9.]{1,64}")
SUCCESS = 0x0000
# PS3.8 9.3.4: rejected for good, by the service user, calling AE title not recognised.
REJECTED = (0x01, 0x01, 0x03)


class Server:
    """Listens until it is stopped."""

    def __init__(self, settings: NodeSettings, inbox: Inbox, audit: Audit) -> None:
        self._settings = settings
        self._inbox = inbox
        self._audit = audit
        self._server: Any = None
        self._entity: Any = None

    def start(self) -> None:
        """Raises OSError where the port is taken or may not be used."""
        from pynetdicom import AE, evt

        node = self._settings.node
        entity = AE(ae_title=node.ae_title)
        entity.add_supported_context(VERIFICATION)
        entity.add_supported_context(CT_IMAGE, [*PLAIN, *COMPRESSED])
        entity.require_called_aet = True
        entity.maximum_associations = self._settings.limits.associations
        entity.maximum_pdu_size = 1 << 17
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_C_ECHO, self._echoed),
            (evt.EVT_C_STORE, self._stored),
        ]
        secure = server_context(self._settings.tls) if self._settings.tls else None
        self._server = entity.start_server(
            (node.bind, node.port), block=False, evt_handlers=handlers, ssl_context=secure
        )
        self._entity = entity

    def stop(self) -> None:
        """Associations are aborted: what was answered is on the disk, the rest will be sent again."""
        if self._server is not None:
            self._server.shutdown()
            self._entity.shutdown()
            self._server = None

    def _requested(self, event: Any) -> None:
        caller, address = _caller(event), str(event.assoc.requestor.address)
        if any(one.ae_title == caller and one.is_at(address) for one in self._settings.allow):
            return
        event.assoc.acse.send_reject(*REJECTED)
        self._audit.add("association rejected", caller=caller, address=address, why="not on the list")
        event.assoc.kill()

    def _rejected(self, event: Any) -> None:
        address = str(event.assoc.requestor.address)
        self._audit.add("association rejected", caller=_caller(event), address=address, why="wrong AE title or busy")

    def _echoed(self, event: Any) -> int:
        self._audit.add("echo", caller=_caller(event), address=str(event.assoc.requestor.address))
        return SUCCESS

    def _stored(self, event: Any) -> Any:
        """The status of a C-STORE; a refusal says why in its comment."""
        caller = _caller(event)
        series: str | None = None
        try:
            one = instance_of(event, caller)
            series = self._inbox.key(one.study, one.series)
            self._inbox.store(one)
        except Refused as no:
            self._audit.add("slice refused", caller=caller, series=series, status=f"{no.status:04X}", why=str(no))
            return _answer(no.status, str(no))
        # A slice that nobody foresaw must not end the association of all others.
        except Exception as bad:
            log.error("a slice could not be taken in: %s", type(bad).__name__)
            self._audit.add("slice refused", caller=caller, series=series, status="C000", why=type(bad).__name__)
            return _answer(NOT_UNDERSTOOD, "it cannot be read")
        return SUCCESS


def instance_of(event: Any, caller: str) -> Instance:
    """The slice of a C-STORE request. Raises Refused for what is no CT slice with pixels and identifiers."""
    data = event.dataset
    # De-identified slices may have lost their class; the request has it.
    if str(data.get("SOPClassUID") or CT_IMAGE) != CT_IMAGE or str(data.get("Modality") or "CT") != "CT":
        raise Refused(NO_MATCH, "it is no CT image")
    uids = [str(data.get(name) or "") for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    if not all(UID.fullmatch(uid) for uid in uids):
        raise Refused(NOT_UNDERSTOOD, "it lacks a study, series or instance UID")
    if uids[2] != str(event.request.AffectedSOPInstanceUID):
        raise Refused(NO_MATCH, "its instance UID is not the request's")
    if "PixelData" not in data:
        raise Refused(NOT_UNDERSTOOD, "it has no pixels")
    patient = f"{data.get('IssuerOfPatientID') or ''}\n{data.get('PatientID') or ''}"
    return Instance(uids[0], uids[1], uids[2], patient, caller, event.encoded_dataset())


class LazyContext(ssl.SSLContext):
    """Shakes hands in the association's own thread: one that connects and says nothing must not hold up the others."""

    def wrap_socket(self, *words: Any, **named: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*words, **{**named, "do_handshake_on_connect": False})


def server_context(tls: Tls) -> ssl.SSLContext:
    """Raises OSError (ssl.SSLError is one) for files that are no certificate and key."""
    context = LazyContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.certificate, tls.key)
    if tls.authority:
        context.load_verify_locations(tls.authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _caller(event: Any) -> str:
    primitive = event.assoc.requestor.primitive
    return str(primitive.calling_ae_title if primitive else "").strip()


def _answer(status: int, why: str) -> Any:
    from pydicom.dataset import Dataset

    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = why[:64]
    return answer
