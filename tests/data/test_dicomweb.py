"""What a server may do wrong, by one that does it; the way through a true one is in tests/e2e/test_pacs.py."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("dicomweb_client", reason="the extra dicomweb is not installed")

from masg_sam import api
from masg_sam.data import dicomweb
from masg_sam.data.address import parse_address
from masg_sam.data.dicomweb import Server
from masg_sam.errors import ConfigError, OutputError, ServerError

Answer = tuple[int, str, bytes]
Serve = Callable[[Answer], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A server that gives one answer to everything; its host and port."""
    running = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, kind, body = answer
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return f"127.0.0.1:{server.server_port}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def listed(*series: tuple[str, str]) -> Answer:
    """An answer to a search, of identifiers and modalities."""
    items = [
        {"0020000E": {"vr": "UI", "Value": [uid]}, "00080060": {"vr": "CS", "Value": [kind]}} for uid, kind in series
    ]
    return 200, "application/dicom+json", json.dumps(items).encode()


def refusal(host: str, user: str = "") -> str:
    with (
        pytest.raises(ServerError) as caught,
        Server(parse_address(f"dicomweb://{user}{host}/dicom-web/studies/1.2")).retrieve(),
    ):
        pass
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, "text/plain", b""), "refuses access"),
        ((403, "text/plain", b""), "HTTP 403"),
        ((404, "text/plain", b""), "does not have study 1.2"),
        ((500, "text/plain", b""), "HTTP 500"),
        ((200, "text/html", b"<html>"), "not DICOMweb"),
        ((200, "application/dicom+json", b"{"), "not DICOMweb"),
        (listed(), "no series"),
        (listed(("1.3", "SEG"), ("1.4", "SR")), "no series of images"),
        (listed(("1.3", "MR"), ("1.4", "MR")), "2 image series"),
        (listed(("../../1", "MR")), "not DICOMweb"),
        (listed(("1.3", "MR")), "not DICOMweb"),  # the same answer where the images are asked for
    ],
)
def test_each_failure_says_what_it_is(serve: Serve, answer: Answer, words: str) -> None:
    assert words in refusal(serve(answer))


def test_who_was_refused_is_said_without_the_password(serve: Serve) -> None:
    told = refusal(serve((401, "text/plain", b"")), "ann:secret@")
    assert "the user of the address" in told and "secret" not in told and "ann" not in told


def test_only_dicom_is_stored(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    server = Server(parse_address("dicomweb://127.0.0.1:9/dicom-web/studies/1.2"))
    with pytest.raises(OutputError, match="only DICOM"):
        server.store(tmp_path / "a.png")
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(ServerError, match="no answer"):
        server.store(tmp_path / "a.dcm")


def test_a_call_that_does_not_hang_together_loads_nothing(tmp_path: Path) -> None:
    address = "dicomweb://127.0.0.1:9/dicom-web/studies/1.2"
    for images, kind, store, words in (
        (tmp_path, None, True, "nothing to store"),
        (address, "nifti", True, "masks as nifti"),
        ([address, tmp_path], None, False, "beside other images"),
    ):
        with pytest.raises(ConfigError, match=words):
            list(api.predict("no run", images, tmp_path / "out", mask_format=kind, store=store))
    assert not (tmp_path / "out").exists()


def test_nobody_there(serve: Serve) -> None:
    assert "no answer" in refusal("127.0.0.1:9")  # the port of `discard`, which nobody listens on


def test_a_server_that_keeps_silent_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(dicomweb, "SECONDS", (1, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "no answer" in refusal(f"127.0.0.1:{silent.getsockname()[1]}")
