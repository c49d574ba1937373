"""Takes the pictures of ``docs/first-hour.md``, of the demo's data: see ``docs/development.md``."""
# ruff: noqa: INP001 - a program beside its pictures, and no package

import io
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Locator, Page, expect, sync_playwright

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "screenshots"
# What is beside the UI's menu: 1,200 pixels.
MENU = 240
WIDTH, HEIGHT = 1200 + MENU, 760
COLOURS = 64
MAX_BYTES = 150_000
PATIENCE = 120.0

_RUNS = """
{ runsOrError(limit: 200) { ... on Runs { results { runId jobName tags { key } } } } }
"""
_RANGE = "dagster/asset_partition_range_start"


@contextmanager
def demo_ui(port: int) -> Iterator[str]:
    """The UI on the demo's data, which ``make demo`` made.

    Args:
        port: Its port.

    Yields:
        Its address.
    """
    command = [str(ROOT / ".venv" / "bin" / "crypto-platform"), "demo", "--ui", "--port", str(port)]
    served = subprocess.Popen(command, cwd=ROOT)  # noqa: S603 - our own command
    address = f"http://127.0.0.1:{port}"
    try:
        ends = time.monotonic() + PATIENCE
        while not _answers(address):
            if served.poll() is not None or time.monotonic() > ends:
                sys.exit("The demo's UI did not come up; does `make demo-ui` work?")
            time.sleep(1)
        yield address
    finally:
        served.terminate()
        served.wait()


def _answers(address: str) -> bool:
    try:
        asked(address, "{ version }")
    except OSError:
        return False
    return True


def asked(address: str, query: str) -> Any:
    """What Dagster's API answers to a query."""
    request = urllib.request.Request(  # noqa: S310 - the UI that was started above
        f"{address}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
        return json.load(answer)["data"]


def backfill_run(address: str) -> str:
    """The id of the oldest run of a range: the demo's backfill."""
    runs = asked(address, _RUNS)["runsOrError"]["results"]
    ranges = [
        run["runId"]
        for run in runs
        if run["jobName"] == "historical" and any(tag["key"] == _RANGE for tag in run["tags"])
    ]
    return str(ranges[-1])


def _day(ago: int) -> str:
    return f"{datetime.now(UTC) - timedelta(days=ago):%Y-%m-%d}"


def dialog(page: Page, address: str) -> Locator:
    """The dialog that launches a backfill, over the three stages."""
    page.goto(f"{address}/locations/__repository__@crypto_platform/asset-groups/historical/lineage")
    page.get_by_text("snowflake_prices").first.wait_for()
    page.get_by_role("button", name="Materialize all").click()
    found = page.get_by_role("dialog").first
    days = found.get_by_role("textbox").first
    days.fill(f"[{_day(9)}...{_day(3)}]")
    days.press("Enter")
    found.get_by_text("7 partitions").wait_for()
    return found


def run(page: Page, address: str) -> None:
    """The run of the demo's backfill."""
    # The bars have their part of the height, of which the upper part is shown.
    page.set_viewport_size({"width": WIDTH, "height": 2 * HEIGHT})
    page.goto(f"{address}/runs/{backfill_run(address)}")
    page.get_by_text("RUN_SUCCESS").first.wait_for()


def checks(page: Page, address: str) -> None:
    """What was evaluated when the newest prices were loaded."""
    page.goto(f"{address}/assets/historical/snowflake_prices?view=checks&checkDetail=coins")
    page.get_by_text("Evaluation result").first.wait_for()


def partition(page: Page, address: str) -> None:
    """What a partition has, and a preview of it."""
    asset = f"{address}/assets/historical/snowflake_prices"
    page.goto(f"{asset}?view=partitions&partition={_day(3)}")
    page.get_by_text("row_count").first.wait_for()


def ledger(page: Page, address: str) -> Locator:
    """The ledger's heat map of the daily history."""
    page.goto(f"{address}/assets/ingestion_ledger")
    row = page.get_by_role("row").filter(has_text="historical_heat_map").first
    row.scroll_into_view_if_needed()
    row.get_by_text("Show Markdown").click()
    found = page.get_by_role("dialog").first
    expect(found.locator("img")).to_be_visible()
    return found


def report(page: Page, _address: str) -> None:
    """The head of the market report."""
    home = Path(os.environ.get("CRYPTO_HOME", "") or ROOT / ".crypto")
    demo = home.with_name(f"{home.name}-demo")
    page.set_viewport_size({"width": 1200, "height": HEIGHT})
    page.goto((demo / "transformed" / "market_report" / "latest.html").absolute().as_uri())


SHOWN = {
    "backfill-dialog": dialog,
    "run": run,
    "partition": partition,
    "checks": checks,
    "ledger": ledger,
    "market-report": report,
}
"""The pictures, by the names of their files, and what brings each of them up."""


def take(page: Page, shown: Locator | None) -> bytes:
    """A picture of a part of the page, or of all that is beside the menu, in few colours."""
    page.wait_for_load_state("networkidle")
    # Charts and tables come in.
    page.wait_for_timeout(3000)
    size = page.viewport_size
    beside = size["width"] - 1200 if size else 0
    picture = (
        shown.screenshot()
        if shown
        else page.screenshot(clip={"x": beside, "y": 0, "width": 1200, "height": HEIGHT})
    )
    kept = io.BytesIO()
    few = Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS)
    few.save(kept, "PNG", optimize=True)
    return kept.getvalue()


def main() -> None:
    """Take the pictures that are named, or all."""
    names = sys.argv[1:] or list(SHOWN)
    PICTURES.mkdir(exist_ok=True)
    with demo_ui(port=3999) as address, sync_playwright() as playwright:
        # CHROMIUM names one that the machine has; else the one that playwright installed is taken.
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM"), args=["--no-sandbox"]
        )
        for name in names:
            page = browser.new_page(
                viewport={"width": WIDTH, "height": HEIGHT}, timezone_id="UTC", locale="en-GB"
            )
            page.set_default_timeout(PATIENCE * 1000)
            picture = take(page, SHOWN[name](page, address))
            page.close()
            (PICTURES / f"{name}.png").write_bytes(picture)
            print(f"{name}: {len(picture):,} bytes")  # noqa: T201 - what it did
            if len(picture) > MAX_BYTES:
                sys.exit(f"{name} is larger than {MAX_BYTES:,} bytes: show less, or fewer colours.")


if __name__ == "__main__":
    main()
