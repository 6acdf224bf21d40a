from __future__ import annotations

from pathlib import Path

import pytest

from masg_sam.data.address import Address, is_address, parse_address
from masg_sam.errors import ConfigError


def test_the_parts_of_an_address() -> None:
    found = parse_address("dicomwebs://ann:p%40ss@pacs.example:8443/a/dicom-web/studies/1.2.3/series/4.5/")
    assert found == Address("dicomwebs", "pacs.example:8443", "/a/dicom-web", "1.2.3", "4.5", ("ann", "p@ss"))
    assert found.service == "https://pacs.example:8443/a/dicom-web"
    plain = parse_address("DICOMWEB://pacs.example/dicom-web/studies/1.2.3")
    assert (plain.service, plain.series, plain.user) == ("http://pacs.example/dicom-web", None, None)
    assert str(plain) == "dicomweb://pacs.example/dicom-web/studies/1.2.3"
    assert plain.of_series("7.8") == str(parse_address(f"{plain}/series/7.8"))


@pytest.mark.parametrize("host", ["[::1]:8080", "[fd00::a1]"])
def test_a_host_by_its_number_keeps_its_brackets(host: str) -> None:
    found = parse_address(f"dicomweb://ann:p@{host}/dicom-web/studies/1.2.3")
    assert found.service == f"http://{host}/dicom-web"
    assert str(found) == f"dicomweb://{host}/dicom-web/studies/1.2.3"


def test_an_address_never_shows_the_password() -> None:
    found = parse_address("dicomweb://ann:secret@h:1/studies/1.2/series/3")
    assert "secret" not in f"{found} {found!r} {found.service}"
    with pytest.raises(ConfigError) as caught:
        parse_address("dicomweb://ann:secret@h:1/nothing")
    assert "secret" not in str(caught.value) and "h:1/nothing" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "dicomweb://h:1",
        "dicomweb://h:1/dicom-web/studies",
        "dicomweb:///studies/1.2",
        "dicomweb://h:many/studies/1.2",
        "dicomweb://h/studies/..",
        "dicomweb://h/studies/1.2/series/../../x",
        "dicomweb://h/studies/1.2?x=1",
    ],
)
def test_addresses_that_name_no_study(text: str) -> None:
    assert is_address(text)
    with pytest.raises(ConfigError, match="names no study"):
        parse_address(text)


def test_files_are_no_addresses() -> None:
    assert not any(is_address(text) for text in ("scan.nii.gz", "dicomweb", Path("dicomweb"), "http://h/studies/1"))
