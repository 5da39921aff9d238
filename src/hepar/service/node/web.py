"""DICOMweb: STOW-RS of results, QIDO-RS of counts, WADO-RS of whole series."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hepar.errors import OutputError
from hepar.service.node.settings import Peer

T = TypeVar("T")
DUPLICATE = 0x0111
COUNT = "00201209"


def store(peer: Peer, path: Path) -> None:
    """STOW-RS of one file. Raises OutputError unless the archive says that it has it."""
    from pydicom import dcmread

    with _errors(peer):
        answer = client(peer).store_instances([dcmread(path)])
        failed = answer.get("FailedSOPSequence") or ()
        reasons = [int(one.get("FailureReason") or 0) for one in failed]
    if any(reason != DUPLICATE for reason in reasons):
        raise OutputError(f"'{peer.name}' refused it with {reasons[0]:04X}")


def count_slices(peer: Peer, study: str, series: str) -> int:
    """How many instances the archive holds of a series; 0 where it knows none. Raises OutputError."""
    with _errors(peer):
        asked = client(peer)
        wanted = {"SeriesInstanceUID": series}
        rows = asked.search_for_series(study, fields=[COUNT], search_filters=wanted)
        told = [int((row.get(COUNT, {}).get("Value") or [0])[0]) for row in rows]
        return max(told) if any(told) else len(asked.search_for_instances(study, series))


def reach(peer: Peer) -> None:
    """Raises OutputError where the archive does not answer a query."""
    with _errors(peer):
        client(peer).search_for_studies(limit=1)


def series_of(peer: Peer, study: str) -> list[str]:
    """UIDs of a study's CT series. Raises OutputError."""
    with _errors(peer):
        rows = client(peer).search_for_series(study, search_filters={"Modality": "CT"})
        return [str(row["0020000E"]["Value"][0]) for row in rows]


def slices_of(peer: Peer, study: str, series: str) -> Iterator[Any]:
    """The data sets of a series one after the other, as the archive keeps them. Raises OutputError."""
    with _errors(peer):
        yield from client(peer).iter_series(study, series, media_types=(("application/dicom", "*"),))


def client(peer: Peer) -> Any:
    """Proxies come from the environment (HTTPS_PROXY, NO_PROXY); what fails is tried again by the outbox, not here."""
    from dicomweb_client.api import DICOMwebClient
    from dicomweb_client.session_utils import create_session

    session = create_session()
    # requests waits for ever unless each call says how long.
    session.request = _with_timeout(session.request, peer.timeout_seconds)  # type: ignore[method-assign]
    if peer.authority:
        session.verify = str(peer.authority)
    if peer.token_file:
        try:
            token = peer.token_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise OutputError(f"the token of '{peer.name}' cannot be read ({error.strerror})") from error
        session.headers["Authorization"] = f"Bearer {token}"
    made = DICOMwebClient(peer.url.rstrip("/"), session=session)
    made.set_http_retry_params(retry=False)
    return made


def _with_timeout(request: Callable[..., T], seconds: float) -> Callable[..., T]:
    def asked(*words: Any, **named: Any) -> T:
        return request(*words, **{"timeout": seconds, **named})

    return asked


@contextmanager
def _errors(peer: Peer) -> Iterator[None]:
    """Libraries' texts hold whole addresses with UIDs; only what kind of failure it was is told."""
    from requests import HTTPError, RequestException

    try:
        yield
    except OutputError:
        raise
    except HTTPError as error:
        code = "an error" if error.response is None else f"HTTP {error.response.status_code}"
        raise OutputError(f"'{peer.name}' answered {code}") from None
    except RequestException as error:
        raise OutputError(f"'{peer.name}' cannot be reached ({type(error).__name__})") from None
    except Exception as error:  # an answer that is no DICOM
        raise OutputError(f"'{peer.name}' answered what is no DICOMweb ({type(error).__name__})") from None
