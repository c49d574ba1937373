"""The reference that a person would write with dlt: the same API, merged into DuckDB.

It runs under any Python that has dlt, and so imports nothing of this project. Prints what it took
as a line of JSON.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import dlt
import requests


def main(base_url: str, coins: int, start: int, end: int, folder: str) -> None:
    """Load the daily prices of the largest coins between two UNIX seconds."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    session = requests.Session()

    def ask(path: str, **parameters: Any) -> Any:
        response = session.get(f"{base_url}{path}", params=parameters, timeout=60)
        response.raise_for_status()
        return response.json()

    @dlt.resource(primary_key=("coin_id", "price_at"), write_disposition="merge")
    def prices() -> Iterator[list[dict[str, Any]]]:
        for market in ask("/coins/markets", vs_currency="usd", per_page=250, page=1)[:coins]:
            asked = {"vs_currency": "usd", "from": start, "to": end}
            chart = ask(f"/coins/{market['id']}/market_chart/range", **asked)
            caps, volumes = dict(chart["market_caps"]), dict(chart["total_volumes"])
            yield [
                {
                    "coin_id": market["id"],
                    "price_at": stamp,
                    "price": price,
                    "market_cap": caps.get(stamp),
                    "total_volume": volumes.get(stamp),
                }
                for stamp, price in chart["prices"]
                if start * 1000 <= stamp < end * 1000
            ]

    began = time.perf_counter()
    pipeline = dlt.pipeline(
        "prices",
        pipelines_dir=f"{folder}/pipelines",
        destination=dlt.destinations.duckdb(f"{folder}/warehouse.duckdb"),
        dataset_name="prices",
    )
    pipeline.run(prices())
    with pipeline.sql_client() as client:
        ((rows,),) = client.execute_sql("SELECT COUNT(*) FROM prices")
    print(json.dumps({"run": time.perf_counter() - began, "rows": rows}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5])
