"""Asset checks as values: what must hold of the data, from which threshold on, and what a fault is.

An evaluation is a list of findings. Severity means something: an ERROR alerts, and stops what comes
after it where the check blocks; a WARN informs. Raw windows are evaluated in ``raw``, files in
``parquet``, loads in ``warehouse``, freshness in ``freshness`` and the month's credits in
``quota``; ``results`` tells Dagster.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

from crypto_platform.core.streams import Stream
from crypto_platform.warehouse.catalogue import price_columns

ERROR = dg.AssetCheckSeverity.ERROR

WARN = dg.AssetCheckSeverity.WARN

MIN_SHARE_OF_POINTS = 0.8
"""Of the points that the granularity promises, how many a coin's window must have.

Hourly points wander 58 to 64 minutes apart, and five-minute ones 2 to 9, so a whole window may lack
one; recorded responses have 5 of 6 and 71 of 72.
"""

JUMP_IN_DEVIATIONS = 12
"""How many robust standard deviations a log return must be from its coin's median to be a jump.

With this and ``MIN_JUMP`` ten recorded years of daily bitcoin (2013 to 2023, 3,687 returns) have
five jumps, the largest 20 deviations; recorded stablecoins, hourly and 5-minute series have none.
"""

MIN_JUMP = math.log(1.1)
"""No smaller move is a jump, however calm the coin: recorded stablecoins moved up to 3 % a day."""

JUMPS_NAMED = 3
"""How many jumps of a coin are named, the largest: a long history has hundreds."""

MIN_RETURNS = 20
"""From fewer returns nobody can tell what is usual: two thirds of ``LOOK_BACK_IN_WINDOWS``."""

LOOK_BACK_IN_WINDOWS = 30
"""How many windows before those of the load say what is usual for a coin: as ``volatility_30d``."""

LOOK_BACK_AT_MIDNIGHTS = 7
"""How many days before a load are compared too: most six-hourly windows have no midnight."""

STREAMS_TOLERANCE = 0.05
"""The streams may differ by this share: up to ten minutes lie between the two moments.

Recorded 5-minute prices of 2021 and 2023 moved by 2.6 % at most in ten minutes.
"""

STREAMS_CONTRADICTION = 0.25
"""Ten times what was seen in ten minutes (``STREAMS_TOLERANCE``): one of the streams is wrong."""

SHOWN = 20
"""How many faults are shown in full, of a result or of a window."""


@dataclass(frozen=True)
class Check:
    """What must hold of an asset's data.

    Attributes:
        name: The check's name on each asset that has it.
        description: The rule, and what a failure means, for people.
        remediation: What a person does about a failure.
        severity: Of a finding that does not say otherwise.
        blocking: Whether what failed it goes no further: it does not count, and nothing downstream
            runs.
        time_based: Whether it is about the present, whatever the run that it is part of is about.
    """

    name: str
    description: str
    remediation: str
    severity: dg.AssetCheckSeverity = ERROR
    blocking: bool = False
    time_based: bool = False


@dataclass(frozen=True)
class Finding:
    """A fault that a check found.

    Attributes:
        check: The check.
        partition: Key of the partition at fault; empty where the fault is the whole table's.
        coin_id: The coin; ``None`` where it is all of them.
        fault: What is wrong, with values and stamps.
        severity: Where it is another than the check's.
    """

    check: Check
    partition: str
    coin_id: str | None
    fault: str
    severity: dg.AssetCheckSeverity | None = None

    def __str__(self) -> str:
        """One line for a person."""
        about = " ".join(part for part in (self.coin_id, self.partition) if part)
        return f"{about}: {self.fault}" if about else self.fault


_AGAIN = "Materialize these partitions again, from transformed_prices on; if that fails, report it."

SCHEMA = Check(
    "schema",
    "Columns and their types are the declared ones.",
    "Make the table as snowflake_scripts/1_creation_tables.sql has it; where the transformed files "
    "are at fault, materialize transformed_prices again.",
    blocking=True,
)

KEYS = Check(
    "keys",
    "Every row has its key (coin_id, vs_currency, price_at), and no key comes twice.",
    _AGAIN,
    blocking=True,
)

STAMPS = Check(
    "stamps",
    "Every price_at lies inside its window: from its start up to, and not at, its end.",
    _AGAIN,
    blocking=True,
)

POSITIVE_PRICES = Check(
    "prices",
    "Every price is positive and finite.",
    _AGAIN,
    blocking=True,
)

CAPS_AND_VOLUMES = Check(
    "caps_and_volumes",
    "Market cap and volume are not negative, and finite; null and zero are the API's own. A "
    "warning: they are kept as the API has them, and the price beside them counts all the same.",
    "Nothing: leave such values out where you compute with caps and volumes.",
    severity=WARN,
)

POINTS = Check(
    "points",
    f"Completeness over time: a coin's window has at least {MIN_SHARE_OF_POINTS:.0%} of the "
    "points that its granularity promises (daily, hourly, 5-minute). Stamps wander, so a window "
    "may lack one. A warning: a coin that was listed or halted within the window has no more.",
    "Materialize the window again, from raw_prices on, while the API still has it so fine.",
    severity=WARN,
)

ROW_COUNTS = Check(
    "row_counts",
    "Row counts reconcile from raw to transformed to warehouse: each point is a row, is folded "
    "into its day, or is rejected with a reason. Nothing is lost, and nothing is added.",
    _AGAIN,
    blocking=True,
)

SNAPSHOTS = Check(
    "snapshots",
    "A market snapshot that was taken has become rows. A warning: snapshots stand beside the "
    "prices and never stop them; what the table had of the window stays.",
    "Materialize the partitions again, from transformed_prices on; where the raw file is damaged, "
    "the snapshot of that moment is lost.",
    severity=WARN,
)

COINS = Check(
    "coins",
    "Completeness over coins: each tracked coin has prices in the window, or the reason why not "
    "stands in the ledger. A coin that was asked for and has neither is an error; one that failed, "
    "or that a run did not ask for, is a warning, as healing asks for it again.",
    "Materialize the partitions named again, from raw_prices on; take a delisted coin out of "
    "TRACKED_COINS.",
)

PRICE_JUMPS = Check(
    "price_jumps",
    f"No price jumps: a log return lies within {JUMP_IN_DEVIATIONS} robust standard deviations (by "
    "the median absolute deviation) of its coin's median, or within 10 %. A warning: markets do "
    "jump, and the API's number stays.",
    "Compare the price with another source; the API may correct it when asked again.",
    severity=WARN,
)

STREAMS_AGREE = Check(
    "streams_agree",
    "The daily price and the intra-day one nearest to 00:00 UTC, at most ten minutes from it, "
    f"differ by no more than {STREAMS_TOLERANCE:.0%}. A warning, as the market moves meanwhile; an "
    f"error beyond {STREAMS_CONTRADICTION:.0%}, as one of the streams must be wrong. What it finds "
    f"in the {LOOK_BACK_AT_MIDNIGHTS} days before the load is a warning.",
    "Materialize the day in historical and the window in intra_day again, from raw_prices on.",
    severity=WARN,
)

REVISIONS = Check(
    "revisions",
    "The load changed no value that stood in the warehouse, and took none out. A warning: sources "
    "do correct themselves; the values before are in price_revisions, and history can be asked as "
    "it was known then.",
    "Nothing, unless what you computed from these prices has to be computed again.",
    severity=WARN,
)

NOTHING_LOST = Check(
    "nothing_lost",
    "What earlier loads committed still stands in the warehouse: every window that the record in "
    "the lake has, and the newest price of each coin that the ledger has. What runs by the clock "
    "believes the record, so as not to wake the warehouse; a load compares the two.",
    "Somebody dropped or restored the warehouse, or took rows out. Materialize snowflake_prices "
    "for the partitions named: that loads the lake again and asks no API.",
)

TRACKED_LIST = Check(
    "list_current",
    "The list of coins was brought up to date; the load that follows brings it to the warehouse. "
    "Where it was not, prices of the coins known are loaded all the same.",
    "Do what the fault says; the next run of a stream's job tries it again.",
    time_based=True,
)

RAW_CHECKS = (COINS,)

PRICE_FILE_CHECKS = (SCHEMA, KEYS, STAMPS, POSITIVE_PRICES, CAPS_AND_VOLUMES, POINTS)
"""What is evaluated of each file of prices, and of nothing where there is none."""


def transformed_checks(stream: Stream) -> tuple[Check, ...]:
    """What is evaluated of the transformed windows of a stream.

    Args:
        stream: The stream; one that takes no market snapshot is not asked about them.
    """
    snapshots = () if stream.snapshot_within is None else (SNAPSHOTS,)
    return (*PRICE_FILE_CHECKS, ROW_COUNTS, *snapshots)


PRICE_TABLE_CHECKS = (KEYS, POSITIVE_PRICES, CAPS_AND_VOLUMES)
"""What is evaluated of each row of a load, and of nothing where it has none."""

WAREHOUSE_CHECKS = (
    SCHEMA,
    KEYS,
    POSITIVE_PRICES,
    CAPS_AND_VOLUMES,
    ROW_COUNTS,
    COINS,
    PRICE_JUMPS,
    STREAMS_AGREE,
    REVISIONS,
    NOTHING_LOST,
)


def schema_faults(columns: Mapping[str, str], types: Mapping[str, set[str]]) -> list[str]:
    """Which of the declared columns of prices are missing or of another type, in words.

    Args:
        columns: The type of each column there is, as the engine calls it.
        types: For each declared type what the engine may call it.
    """
    faults = []
    for column in price_columns().columns:
        found = columns.get(column.name)
        if found is None:
            faults.append(f"there is no column {column.name}")
        elif found not in types[column.type]:
            faults.append(f"{column.name} is {found}, not {column.type}")
    return faults


def at_moment(moment: datetime | None) -> str:
    """A moment in the words of a fault."""
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "no moment"
