"""Takes the pictures of the README: `make screenshots`.

They show a service with a made-up household (`building/household.py`), and one with the demo, in
the browser of the tests. Only `docs/pictures/` stays.
"""

import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from selenium import webdriver

from mt_pipeline.captures.records import State
from mt_pipeline.demo.household import DEVICES
from mt_pipeline.settings import PROJECT
from mt_pipeline_tests.browsers import GRAPH, chromium, page
from mt_pipeline_tests.building.household import write_household, write_inventory, write_places
from mt_pipeline_tests.building.odd import GARBAGE
from mt_pipeline_tests.pipelines import STAGES, ended, environment, program
from mt_pipeline_tests.services import Running, eventually, running

PICTURES = PROJECT / "docs" / "pictures"
CAPTURES, DAMAGED = (
    ("household/monday.pcapng", "household/tuesday.pcapng"),
    "household/wednesday.pcapng",
)

_COLOURS = 96  # a picture of a page looks the same with so few, and is a third as large
_HEIGHT = {"failed": 475}  # the rest is a stack trace
_DRAWN_SECONDS = 3  # until what moves on a page of Dagster stands still


def main() -> None:
    """Take all pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        household = Path(folder)
        write_places(household / "places.mmdb")
        inventory = write_inventory(household / "household.csv")
        ours = {
            "MT_ENRICHMENT": "offline",
            "MT_OFFLINE_CITY_MMDB": str(household / "places.mmdb"),
            "MT_DEVICES": str(inventory),
        }
        with (
            running(household, **ours) as service,
            chromium(household / "profile", "hide-scrollbars") as browser,
        ):
            for name, take in {
                "graph": _graph,
                "capture": _capture,
                "failed": _failed,
                "report": _report,
            }.items():
                take(service, browser)
                _keep(browser, PICTURES / f"{name}.png")

        _take_explorer(household / "demo")


def _take_explorer(folder: Path) -> None:
    """Show the second evening of the demo in the explorer.

    It has a service of its own: the places of the other household are made up.
    """
    folder.mkdir()
    inventory = folder / "demo.csv"
    devices = "".join(f"{name},{device.mac}\n" for name, device in DEVICES.items())
    inventory.write_text(f"device,mac\n{devices}")
    ours = {"MT_ENRICHMENT": "offline", "MT_DEVICES": str(inventory)}
    with (
        running(folder, **ours) as service,
        chromium(folder / "profile", "hide-scrollbars") as browser,
    ):
        environ = environment(service.settings, **ours)
        loaded = ended(program("demo", settings=service.settings, env=environ))
        assert loaded.code == 0, loaded.err
        _size(browser, 1200, 1100)
        page(browser, f"{service.explorer}/?e=demo_after", "alibaba-cloud", "app.adjust.com")
        _keep(browser, PICTURES / "explorer.png")


def _graph(service: Running, browser: webdriver.Chrome) -> None:
    """Show the assets, all of them made."""
    for seed, key in enumerate(CAPTURES):
        write_household(service.data / "inbox" / key, seed=seed)
    _wait(service, *CAPTURES, state=State.DONE)
    _size(browser, 1200, 480)
    page(browser, f"{service.ui}{GRAPH}", *STAGES)


def _capture(service: Running, browser: webdriver.Chrome) -> None:
    """Show what a capture became."""
    _size(browser, 1200, 1100)
    partition = quote(CAPTURES[0], safe="")
    page(
        browser,
        f"{service.ui}/assets/questdb_packets?view=partitions&partition={partition}",
        "traffic_over_time",
        "top_applications",
    )


def _failed(service: Running, browser: webdriver.Chrome) -> None:
    """Show the run of a damaged capture."""
    (service.data / "inbox" / DAMAGED).write_bytes(GARBAGE)
    _wait(service, DAMAGED, state=State.FAILED)
    record = service.record(DAMAGED)
    assert record is not None
    _size(browser, 1200, 640)
    page(browser, f"{service.ui}/runs/{record.run}", "RUN_FAILURE")


def _report(service: Running, browser: webdriver.Chrome) -> None:
    """Show the upper part of a report."""
    path = service.data.parent / "report.html"
    environ = environment(
        service.settings,
        MT_ENRICHMENT="offline",
        MT_OFFLINE_CITY_MMDB=str(service.data.parent / "places.mmdb"),
    )
    result = ended(
        program("report", "household", "--output", path, settings=service.settings, env=environ)
    )
    assert result.code == 0, result.err
    _size(browser, 1000, 1500)
    browser.get(path.as_uri())


def _wait(service: Running, *keys: str, state: State) -> None:
    made: Callable[[], bool] = lambda: all(  # noqa: E731
        (record := service.record(key)) and record.state is state for key in keys
    )  # noqa: E731, RUF100
    assert eventually(made), [service.record(key) for key in keys]


def _size(browser: webdriver.Chrome, width: int, height: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


def _keep(browser: webdriver.Chrome, path: Path) -> None:
    """Take a picture once the page stands still, as small as it can be."""
    time.sleep(_DRAWN_SECONDS)
    with Image.open(io.BytesIO(browser.get_screenshot_as_png())) as taken:
        shown = taken.crop((0, 0, taken.width, _HEIGHT.get(path.stem, taken.height))).convert("RGB")
        shown.quantize(_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
            path, optimize=True
        )


if __name__ == "__main__":
    main()
