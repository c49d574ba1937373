import json
import os
from pathlib import Path
from typing import Any

import pytest

from crypto_platform_tests.lambda_function.conftest import RECORDED, Ingestion, Reply
from lambda_function.errors import InvalidRequest, NothingFetched, NothingFetchedYet, Unauthorized

FOLDER = Path(os.environ.get("RECORDED_DATA") or RECORDED) / "errors"
FILES = sorted(FOLDER.rglob("*.json"))

pytestmark = [
    pytest.mark.recorded,
    pytest.mark.skipif(
        not FILES, reason=f"no recorded responses at {FOLDER}: name their folder in RECORDED_DATA"
    ),
]

# The statuses that were not recorded, by the start of the file's name: whichever it was, the
# meaning must be the same.
UNRECORDED_STATUS = {"10005": (200, 401, 403), "404": (200, 404)}
MEANING = {
    "10005_plan_restricted": Unauthorized,
    "400_10011_demo_key_on_pro_host": Unauthorized,
    "400_invalid_vs_currency": InvalidRequest,
    "401_10002_key_missing": Unauthorized,
    "401_10012_time_range": "out_of_plan",
    "401_10012_time_range_2026": "out_of_plan",
    "404_coin_not_found": NothingFetched,
    "404_coin_not_found_old_wording": NothingFetched,
    "cgruby_422": NothingFetched,
    "cgruby_500": NothingFetchedYet,
    "429": NothingFetchedYet,
}
ABOUT_THE_CURRENCY = b"vs_currency"


def replies(file: Path) -> list[Reply]:
    document = json.loads(file.read_bytes())
    if "_kind" not in document:
        return [Reply(int(file.name.split("_")[1]), file.read_bytes())]
    body = document["body"]
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    headers = {
        name: value
        for name, value in document["headers_quoted"].items()
        if name not in {"content-length", "server"}
    }
    recorded = document["http_status"]
    statuses = (recorded,) if recorded else UNRECORDED_STATUS[file.stem.split("_")[0]]
    return [Reply(status, content, headers) for status in statuses]


def meaning(file: Path) -> Any:
    if file.name.startswith("cgruby_422") and ABOUT_THE_CURRENCY in file.read_bytes():
        return InvalidRequest
    prefix = max((name for name in MEANING if file.stem.startswith(name)), key=len)
    return MEANING[prefix]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recorded_error_means_what_it_says(file: Path, ingestion: Ingestion) -> None:
    expected = meaning(file)
    for reply in replies(file):
        ingestion.api.always("bitcoin", reply)
        if expected == "out_of_plan":
            (absent,) = ingestion.prices(["bitcoin"], ingestion.days(3))["absent"]
            assert (absent["status"], absent["windows"]) == ("out_of_plan", [[0, 2]])
            continue
        with pytest.raises(expected) as caught:
            ingestion.prices(["bitcoin"], ingestion.days(3))
        assert caught.type is expected
