"""What a month of running costs: the arithmetic by hand, and from the schedules as they are."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from crypto_platform.cli.estimate import runs_a_month
from crypto_platform.cli.main import main
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, STREAMS
from crypto_platform.ingestion.estimate import GLUE_DPUS, SNOWFLAKE_IDLE_SECONDS
from crypto_platform.ingestion.monthly_bill import (
    ALARMS,
    DAYS_A_MONTH,
    LAMBDA_GB,
    SECRETS,
    MonthlyBill,
    Wake,
    month_of_running,
    wakes,
)
from lambda_function.plans import PLANS

# The newest window closed ten minutes ago, so that its run takes a snapshot too.
NOW = datetime(2026, 11, 28, 12, 10, tzinfo=UTC)
COUNTED = ("CloudWatch::Alarm", "SecretsManager::Secret")
SETTINGS = Settings.from_environment({})


def usd(bill: MonthlyBill) -> dict[str, float]:
    return {line.service: line.usd for line in bill.lines}


def test_a_month_by_hand() -> None:
    runs = {"intra_day": 100.0, "watch": 700.0}

    bill = month_of_running(runs, [INTRA_DAY], 10, PLANS["analyst"], NOW)

    assert usd(bill) == pytest.approx(
        {
            # 10 s of load, 45 until the models follow, 15 of these, 60 until it sleeps: 130 s.
            "Snowflake": 100 * 130 / 3600 * 3.00,
            # 60 s at least, of two units.
            "AWS Glue": 100 * 2 * 60 / 3600 * 0.44,
            # Ten coins and a snapshot, half a second each; a second for each of two invocations.
            "AWS Lambda": 100 * (11 * 0.5 + 2) * 0.0000133334 + 200 * 0.20 / 1_000_000,
            # Reads of the runs, of the watches, and a tick of the alerts every half minute; and a
            # year of windows of ten coins with 72 points each.
            "S3": 6_000 * 0.000005
            + (20_000 + 70_000 + 87_600) * 0.0000004
            + 1_200 * (250 + 3_900 + 10 * (19 + 8) + 720 * (43 + 33)) / 1e9 * 0.023,
            "CloudWatch and SNS": 3 * 0.10 + 0.30 + 0.2 * 0.50,
            "Secrets Manager": 0.40,
        },
        rel=1e-6,
    )
    assert bill.usd == pytest.approx(sum(usd(bill).values()))


def test_an_hourly_look_at_the_warehouse_would_cost_more_than_all_the_rest() -> None:
    # What the watch did until it read the record: three steps, some 15 s of questions.
    a_day = Wake("watch", 24, 15).credits
    bill = month_of_running(runs_a_month(SETTINGS), STREAMS, 25, PLANS["demo"], NOW)

    assert a_day == pytest.approx(0.5)
    assert a_day * DAYS_A_MONTH * 3.00 == pytest.approx(45.6, abs=0.1)
    assert a_day * DAYS_A_MONTH * 3.00 > bill.usd


def test_a_wake_up_costs_a_minute_however_short_it_is() -> None:
    assert Wake("a question", 60, 0).credits == pytest.approx(1)


def test_the_runs_are_those_of_the_schedules() -> None:
    runs = runs_a_month(SETTINGS)

    a_day = {job: round(count / DAYS_A_MONTH, 3) for job, count in runs.items()}
    assert a_day == {
        "historical": 1,
        "intra_day": 4,
        "watch": 24,
        "sentiment": 4,
        "vacuum": round(1 / 7, 3),
    }
    # Each of them is known to the bill, and what runs by the clock wakes nothing.
    assert {wake.what for wake in wakes(runs, STREAMS)} == {"historical", "intra_day", "sentiment"}


def test_a_schedule_that_runs_twice_as_often_costs_twice_as_much() -> None:
    often = replace(INTRA_DAY, schedule_cron="10 */3 * * *")
    streams = (HISTORICAL, often)

    before = {wake.what: wake.credits for wake in wakes(runs_a_month(SETTINGS), STREAMS)}
    after = {wake.what: wake.credits for wake in wakes(runs_a_month(SETTINGS, streams), streams)}

    assert after == pytest.approx({**before, "intra_day": 2 * before["intra_day"]})


def test_a_job_that_the_bill_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="Say here what reindex asks of the warehouse"):
        wakes({"reindex": 1.0}, STREAMS)


def test_the_command_says_what_a_month_costs_and_what_that_assumes() -> None:
    said = CliRunner().invoke(main, ["estimate", "--credit-price", "2"])
    as_json = CliRunner().invoke(main, ["estimate", "--json", "--credit-price", "2"])

    assert said.exit_code == 0
    assert "2.00 USD a credit" in said.output
    bill = json.loads(as_json.output)
    assert f"{bill['usd']:,.2f}" in said.output
    assert all(line["assumed"] for line in bill["lines"])


def test_the_bill_is_of_what_the_stack_has() -> None:
    template = Path("infrastructure/platform.yaml").read_text(encoding="utf-8")
    warehouse = Path("snowflake_scripts/0_account.sql").read_text(encoding="utf-8")

    counts = [template.count(f"Type: AWS::{kind}\n") for kind in COUNTED]
    workers = re.findall(r"WorkerType: (\S+)\n\s+NumberOfWorkers: (\d+)", template)
    assert counts == [ALARMS, SECRETS]
    # A G.1X worker is one unit.
    assert set(workers) == {("G.1X", str(GLUE_DPUS))}
    assert re.findall(r"Architectures: (.*)\n", template) == ["[arm64]"]
    assert re.findall(r"MemorySize: (\d+)\n", template) == [str(1024 * LAMBDA_GB)]
    assert f"AUTO_SUSPEND = {SNOWFLAKE_IDLE_SECONDS}\n" in warehouse
    assert "WAREHOUSE_SIZE = XSMALL\n" in warehouse
