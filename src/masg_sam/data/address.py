"""Addresses of studies in a PACS: ``dicomweb://HOST:PORT/dicom-web/studies/UID``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from masg_sam.errors import ConfigError

SCHEMES = {"dicomweb": "http", "dicomwebs": "https"}
FORM = "dicomweb://HOST:PORT/dicom-web/studies/UID, with /series/UID behind it to choose a series"
UID = r"\d+(?:\.\d+)*"
PLACE = re.compile(rf"(?P<prefix>.*)/studies/(?P<study>{UID})(?:/series/(?P<series>{UID}))?/?", re.ASCII)


@dataclass(frozen=True)
class Address:
    """Where a study or series is; its text names no user and no password.

    Attributes:
        scheme: ``dicomweb`` or ``dicomwebs``.
        host: with its port.
        prefix: path of the service.
        study: StudyInstanceUID.
        series: SeriesInstanceUID, where one is chosen.
        user: name and password, where the address gave them; else those of ``.netrc`` are used.
    """

    scheme: str
    host: str
    prefix: str
    study: str
    series: str | None = None
    user: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def service(self) -> str:
        """Of HTTP."""
        return f"{SCHEMES[self.scheme]}://{self.host}{self.prefix}"

    def of_series(self, uid: str) -> str:
        """The address of a series of the study."""
        return f"{self.scheme}://{self.host}{self.prefix}/studies/{self.study}/series/{uid}"

    def __str__(self) -> str:
        study = f"{self.scheme}://{self.host}{self.prefix}/studies/{self.study}"
        return self.of_series(self.series) if self.series else study


def is_address(text: object) -> bool:
    """Whether this names something on a server, not a file."""
    return str(text).lower().startswith(tuple(f"{scheme}:/" for scheme in SCHEMES))


def parse_address(text: str) -> Address:
    """Take an address apart.

    Raises:
        ConfigError: it names no study of a DICOMweb service.
    """
    parts = urlsplit(text)
    place = PLACE.fullmatch(parts.path)
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name  # IPv6
    try:
        host = f"{name}:{parts.port}" if parts.port else name
    except ValueError:  # a port that is no number
        host = ""
    if not host or place is None or parts.query or parts.fragment:
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise ConfigError("an address that names no study", found=shown, expected=FORM)
    user = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return Address(parts.scheme, host, place["prefix"], place["study"], place["series"], user)
