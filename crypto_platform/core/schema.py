"""The columns of prices at each stage, as Dagster shows them."""

import dagster as dg

PRICE_COLUMNS = dg.TableSchema(
    columns=[
        dg.TableColumn("coin_id", "string", "The API's id of the coin; symbols are not unique."),
        dg.TableColumn("vs_currency", "string", "The currency of price, cap and volume."),
        dg.TableColumn("price_at", "timestamp", "When the price held, UTC."),
        dg.TableColumn("price", "double", "Price of one coin, exactly the API's number."),
        dg.TableColumn("market_cap", "double", "As the API has it; null and zero stay."),
        dg.TableColumn("total_volume", "double", "Traded in the 24 hours before."),
        dg.TableColumn("granularity", "string", "daily, hourly or 5-minute."),
        dg.TableColumn("fetched_at", "timestamp", "When the API was asked, UTC."),
        dg.TableColumn("source", "string", "coingecko or simulated."),
    ]
)

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
    ]
)
