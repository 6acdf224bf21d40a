"""The report of the embedded sample in headless Chromium: it works, says nothing on the console, asks for nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from masg_sam import api
from masg_sam.config import Config

BROWSER, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")


@pytest.fixture
def page(tiny: Config, tmp_path: Path) -> Path:
    """A few steps on the sample, its whole head segmented, the report with scores."""
    pytest.importorskip("nilearn")
    from masg_sam.data.sample import write_sample

    write_sample(tmp_path / "data", slices=2)
    api.train(tmp_path / "data", tmp_path / "run", tiny, console=Console(quiet=True))
    list(api.predict(tmp_path / "run", tmp_path / "data", tmp_path / "masks", device="cpu"))
    lines = (tmp_path / "masks" / "predictions.jsonl").read_text()
    (tmp_path / "masks" / "icbm153.nii.gz").write_bytes((tmp_path / "masks" / "icbm152.nii.gz").read_bytes())
    again = json.loads(lines) | {"case": "icbm153", "seconds": 9999.0}
    (tmp_path / "masks" / "predictions.jsonl").write_text(lines + json.dumps(again) + "\n")
    return api.report(tmp_path / "masks", tmp_path / "report.html", device="cpu", slices=4)


@pytest.fixture
def browser() -> Iterator[Any]:
    if not BROWSER or not DRIVER:
        pytest.skip("no Chromium with its driver here")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,1000"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(DRIVER, env=os.environ | {"no_proxy": "localhost,127.0.0.1"})
    found = webdriver.Chrome(options=options, service=service)
    yield found
    found.quit()


def test_report_in_a_browser(page, browser):
    browser.get(page.as_uri())

    def run(script: str) -> Any:
        return browser.execute_script(script)

    def keys(selector: str, *pressed: str) -> None:
        from selenium.webdriver.common.by import By

        browser.find_element(By.CSS_SELECTOR, selector).send_keys(*pressed)

    from selenium.webdriver.common.keys import Keys

    shown = "return document.querySelector('.slice:not([hidden])').dataset.number"
    before = run(shown)
    keys(".case input[type=range]", Keys.HOME)
    first = run(shown)
    keys(".case input[type=range]", Keys.ARROW_RIGHT)
    second = run(shown)
    assert first != second and before in run(
        "return [...document.querySelectorAll('.slice')].map(s => s.dataset.number)"
    )
    assert run("return document.querySelector('.case output').textContent") == second
    assert run("return document.querySelectorAll('.case:first-child .slice:not([hidden])').length") == 1
    assert run("return [...document.images].every(i => i.closest('[hidden]') || i.naturalWidth > 0)")

    layer = "return document.querySelector('.slice:not([hidden]) [data-layer=prediction]').hidden"
    assert run(layer) is False
    keys("input.layer[value=prediction]", Keys.SPACE)
    assert run(layer) is True

    order = "return [...document.querySelectorAll('tbody tr')].map(r => r.cells[0].textContent)"
    assert run(order) == ["icbm152", "icbm153"]
    keys("thead th:last-child button", Keys.ENTER)
    assert run(order) == ["icbm152", "icbm153"]
    keys("thead th:last-child button", Keys.ENTER)
    assert run(order) == ["icbm153", "icbm152"]
    assert run("return document.querySelector('thead th:last-child').getAttribute('aria-sort')") == "descending"
    keys("#filter", "153")
    assert run("return [...document.querySelectorAll('tbody tr')].map(r => r.hidden)") == [False, True]
    assert run("return document.getElementById('shown').textContent") == "1 of 2"

    assert run("return document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.get_log("browser") == []
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith("data:")] == [page.as_uri()]
