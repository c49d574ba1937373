"""The columns of raw prices, as Dagster shows them; those of tables: ``warehouse.catalogue``."""

import dagster as dg

RAW_COLUMNS = dg.TableSchema(
    columns=[
        dg.TableColumn("coin_id", "string", "The API's id of the coin."),
        dg.TableColumn("vs_currency", "string", "The currency that was asked for."),
        dg.TableColumn("window_start", "timestamp", "Start of the window, UTC."),
        dg.TableColumn("window_end", "timestamp", "End of the window, itself not in it."),
        dg.TableColumn("granularity", "string", "Spacing of the points."),
        dg.TableColumn("requested_from", "bigint", "What was asked, UNIX seconds."),
        dg.TableColumn("requested_to", "bigint", "What was asked, UNIX seconds."),
        dg.TableColumn("fetched_at", "timestamp", "When it was asked, UTC."),
        dg.TableColumn("run_id", "string", "The run that asked."),
        dg.TableColumn("source", "string", "coingecko or simulated."),
        dg.TableColumn("prices", "array<array<double>>", "[UNIX milliseconds, price]"),
        dg.TableColumn("market_caps", "array<array<double>>", "[UNIX milliseconds, market cap]"),
        dg.TableColumn("total_volumes", "array<array<double>>", "[UNIX milliseconds, volume]"),
        dg.TableColumn(
            "faults",
            "array<struct<series: string, stamp: double, value: string>>",
            "What stood in place of a number or a point, as text.",
        ),
    ]
)
