"""Settings of a node from a TOML file, checked before anything listens."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from dataclasses import MISSING, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from hepar.errors import BadInput

T = TypeVar("T")
# Names become parts of file names.
NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
# PS3.5 6.2: up to 16 characters of the default repertoire, no backslash.
AE_TITLE = re.compile(r"[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?")


@dataclass(frozen=True)
class NodeAddress:
    """Where the node listens and keeps its data; an empty `model` is the shipped one."""

    ae_title: str
    data: Path
    port: int = 11112
    bind: str = "127.0.0.1"
    model: str = ""
    device: str = "auto"
    threads: int = 0

    def __post_init__(self) -> None:
        _require_ae(self.ae_title)
        _require_port(self.port)
        try:
            ipaddress.ip_address(self.bind)
        except ValueError:
            raise BadInput(f"bind is {self.bind!r}; expected an IP address of this machine, or 0.0.0.0") from None


@dataclass(frozen=True)
class Caller:
    """One that may call, from any address or those of a network such as 10.1.2.0/24."""

    ae_title: str
    address: str = ""

    def __post_init__(self) -> None:
        _require_ae(self.ae_title)
        if self.address:
            try:
                ipaddress.ip_network(self.address)
            except ValueError:
                raise BadInput(f"allow has the address {self.address!r}; expected one such as 10.1.2.3") from None

    def is_at(self, address: str) -> bool:
        if not self.address:
            return True
        here = ipaddress.ip_address(address)
        # A socket that listens on both kinds shows IPv4 callers as ::ffff:10.1.2.3.
        here = getattr(here, "ipv4_mapped", None) or here
        return here in ipaddress.ip_network(self.address)


@dataclass(frozen=True)
class Peer:
    """An archive: by DICOM (`ae_title`, `host`, `port`) or by DICOMweb (`url`)."""

    name: str
    ae_title: str = ""
    host: str = ""
    port: int = 0
    url: str = ""
    token_file: Path | None = None
    authority: Path | None = None
    tls: bool = False
    timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise BadInput(f"a destination is called {self.name!r}; expected letters, digits, _ and -")
        if bool(self.url) == bool(self.ae_title):
            raise BadInput(f"'{self.name}' has both or neither of ae_title and url; expected one of them")
        if self.url:
            if not self.url.startswith(("http://", "https://")):
                raise BadInput(f"the url of '{self.name}' is no http:// or https:// address")
        else:
            _require_ae(self.ae_title)
            _require_port(self.port)
            if not self.host:
                raise BadInput(f"'{self.name}' has no host; expected a name or an address")
        _require_positive(self, "timeout_seconds")


@dataclass(frozen=True)
class Completion:
    """When a series is complete: nothing came for `idle_seconds`, and all came that `source` counts."""

    idle_seconds: float = 30.0
    patience_seconds: float = 900.0
    least_slices: int = 10
    source: Peer | None = None

    def __post_init__(self) -> None:
        _require_positive(self, "idle_seconds", "patience_seconds", "least_slices")


@dataclass(frozen=True)
class Limits:
    """Of one series; what the disk must keep free; how many may call at once."""

    slices: int = 5000
    series_mb: int = 4096
    free_disk_mb: int = 2048
    associations: int = 10

    def __post_init__(self) -> None:
        _require_positive(self, "slices", "series_mb", "associations")


@dataclass(frozen=True)
class Retention:
    """How long received series and audit files are kept."""

    received_days: float = 7.0
    audit_days: float = 365.0
    audit_mb: float = 20.0
    plain_uids: bool = False

    def __post_init__(self) -> None:
        _require_positive(self, "received_days", "audit_days", "audit_mb")


@dataclass(frozen=True)
class Retry:
    """Pauses between tries to send: the first, then twice as long each time up to the longest."""

    first_seconds: float = 30.0
    longest_seconds: float = 3600.0

    def __post_init__(self) -> None:
        _require_positive(self, "first_seconds", "longest_seconds")

    def pause_seconds(self, tries: int) -> float:
        """After so many tries in vain, at least 1."""
        return min(self.longest_seconds, self.first_seconds * 2.0 ** min(tries - 1, 40))


@dataclass(frozen=True)
class Tls:
    """Files of DICOM over TLS; with an `authority` callers must show a certificate of it."""

    certificate: Path
    key: Path
    authority: Path | None = None


@dataclass(frozen=True)
class NodeSettings:
    """A whole settings file."""

    node: NodeAddress
    allow: tuple[Caller, ...]
    destination: tuple[Peer, ...]
    completion: Completion = field(default_factory=Completion)
    limits: Limits = field(default_factory=Limits)
    retention: Retention = field(default_factory=Retention)
    retry: Retry = field(default_factory=Retry)
    tls: Tls | None = None

    def __post_init__(self) -> None:
        if not self.allow:
            raise BadInput("no caller is allowed; name at least one in a table [[allow]]")
        if not self.destination:
            raise BadInput("results would go nowhere; name at least one [[destination]]")
        names = [one.name for one in self.destination]
        if len(set(names)) < len(names):
            raise BadInput(f"destinations are called {', '.join(names)}; expected a name each")


def example() -> str:
    """A settings file with every setting explained."""
    return resources.files("hepar.service.node").joinpath("example.toml").read_text(encoding="utf-8")


def read_settings(path: Path) -> NodeSettings:
    """Raises BadInput that names the setting, for files that are missing, no TOML, or say what cannot be."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"'{path.name}' cannot be read ({error.strerror}); see `hepar node --example-config`") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"'{path.name}' is no TOML ({error}); see `hepar node --example-config`") from error
    base = path.resolve().parent
    for name in ("allow", "destination"):
        if not isinstance(table.get(name, []), list):
            raise BadInput(f"'{path.name}': {name} is one table; write [[{name}]] with two brackets")
    return _made(NodeSettings, table, path.name, base)


def _made(kind: type[T], table: dict[str, Any], where: str, base: Path) -> T:
    """A dataclass from a table; unknown and missing names and wrong types are errors."""
    hints = get_type_hints(kind)
    known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(table.keys() - known.keys())
    if unknown:
        raise BadInput(f"{where} has {', '.join(unknown)}; expected {', '.join(known)}")
    lacking = [
        name
        for name, one in known.items()
        if name not in table and one.default is MISSING and one.default_factory is MISSING
    ]
    if lacking:
        raise BadInput(f"{where} lacks {', '.join(lacking)}; see `hepar node --example-config`")
    values = {name: _value(hints[name], value, f"{where}: {name}", base) for name, value in table.items()}
    try:
        return kind(**values)
    except BadInput as error:
        raise error if str(error).startswith(where) else BadInput(f"{where}: {error}") from None


def _value(kind: Any, value: Any, where: str, base: Path) -> Any:
    said = str(kind)
    tables = [one for one in (Caller, Peer, NodeAddress, Completion, Limits, Retention, Retry, Tls) if _is(kind, one)]
    if tables and said.startswith("tuple"):
        return tuple(_value(tables[0], one, f"{where} {place}", base) for place, one in enumerate(value, start=1))
    if tables and isinstance(value, dict):
        return _made(tables[0], value, where, base)
    if "Path" in said and isinstance(value, str) and value:
        return base / Path(value).expanduser()
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind in (int, str, bool) and type(value) is kind:
        return value
    wanted = "a table" if tables else "a path" if "Path" in said else getattr(kind, "__name__", said)
    raise BadInput(f"{where} is {value!r}; expected {wanted}")


def _is(kind: Any, one: type) -> bool:
    return kind is one or one in getattr(kind, "__args__", ())


def _require_ae(title: str) -> None:
    if not AE_TITLE.fullmatch(title):
        raise BadInput(f"found the AE title {title!r}; expected 1 to 16 ASCII characters without backslash")


def _require_port(port: int) -> None:
    if not 1 <= port <= 65535:
        raise BadInput(f"found port {port}; expected 1 to 65535")


def _require_positive(settings: object, *names: str) -> None:
    for name in names:
        if not getattr(settings, name) > 0:
            raise BadInput(f"{name} is {getattr(settings, name)}; expected more than 0")
