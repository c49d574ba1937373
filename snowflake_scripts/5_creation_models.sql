-- What an analyst opens first: models of the prices, and the Fear & Greed index.
--
-- Run it after 1_creation_tables.sql, as the same role. It is safe to run again: nothing that holds
-- data is ever replaced. The local warehouse is made from it too, as from that script.
--
-- How the models are made stands in models.sql. A null is always "not known": none of these columns
-- is guessed, and none reaches across a missing day.

USE DATABASE &{database};

CREATE TABLE IF NOT EXISTS transformed.fear_and_greed (
    day DATE NOT NULL COMMENT 'Day that the value is of, UTC',
    value INTEGER NOT NULL COMMENT 'From 0, extreme fear, to 100, extreme greed',
    classification VARCHAR COMMENT 'The value in words, as the index itself puts it; null where the index has none',
    fetched_at TIMESTAMP_NTZ(6) NOT NULL COMMENT 'When the index was asked for this value, UTC',
    loaded_at TIMESTAMP_NTZ(6) NOT NULL COMMENT 'When the row was loaded, UTC; one moment a load',
    source VARCHAR NOT NULL COMMENT 'Where the value is from: alternative.me, or simulated',
    PRIMARY KEY (day)
) COMMENT = 'The Fear & Greed index of the market: one row a day; days that the index skipped are missing';

CREATE TABLE IF NOT EXISTS transformed.daily_prices (
    coin_id VARCHAR NOT NULL COMMENT 'The API''s id of the coin; symbols are in coins',
    vs_currency VARCHAR NOT NULL COMMENT 'Currency of all prices, as in usd',
    day DATE NOT NULL COMMENT 'UTC day, from 00:00 to the next 00:00',
    open DOUBLE COMMENT 'First price of the day, if it is from the first two hours; null where there is no such price',
    high DOUBLE COMMENT 'Highest price seen, open and close among them; null where there are only daily prices, which do not show it',
    low DOUBLE COMMENT 'Lowest price seen, open and close among them; null where there are only daily prices, which do not show it',
    close DOUBLE COMMENT 'Price at the day''s end: the open of the next day, else the last price of the last two hours; on the newest day, which goes on, the latest price so far; null where there is none of these',
    close_at TIMESTAMP_NTZ(6) COMMENT 'Moment of close, volume and market_cap, UTC; before the day''s end where that has not been seen yet; null where close is null',
    volume DOUBLE COMMENT 'Volume traded in the 24 hours before close_at, in vs_currency; as the API has it; null where close is null, or the API has none',
    market_cap DOUBLE COMMENT 'Market capitalization at close_at, in vs_currency; null where the API has none or zero',
    observations INTEGER NOT NULL COMMENT 'Prices of the day in both tables of prices',
    hours_observed INTEGER NOT NULL COMMENT 'Full hours of the day, 00:00 to 23:00, that have an intra-day price of the day within 30 minutes',
    granularity VARCHAR NOT NULL COMMENT 'Of the finest prices of the day: 5-minute, hourly or daily',
    PRIMARY KEY (coin_id, vs_currency, day)
) COMMENT = 'Prices a day, from the finest there are: one row a coin a day that has any price';

CREATE TABLE IF NOT EXISTS transformed.price_moves (
    coin_id VARCHAR NOT NULL COMMENT 'The API''s id of the coin; symbols are in coins',
    vs_currency VARCHAR NOT NULL COMMENT 'Currency of close, as in usd',
    day DATE NOT NULL COMMENT 'UTC day',
    close DOUBLE COMMENT 'As in daily_prices; null where it is null there',
    return_1d DOUBLE COMMENT 'close over the close of the day before, less 1; null unless both are known',
    return_7d DOUBLE COMMENT 'close over the close 7 days before, less 1; null unless both are known and no day between is missing',
    return_30d DOUBLE COMMENT 'close over the close 30 days before, less 1; null unless both are known and no day between is missing',
    log_return_1d DOUBLE COMMENT 'Natural logarithm of close over the close of the day before; null unless both are known',
    volatility_30d DOUBLE COMMENT 'Sample standard deviation of the last 30 values of log_return_1d, times the root of 365: a year''s; null unless all 30 days are known',
    drawdown DOUBLE COMMENT 'close over the highest close up to the day, less 1: zero at a peak, else negative; null where close is null',
    ath_distance DOUBLE COMMENT 'close over the all-time high known by the day, less 1: that of the newest of market_snapshots, or a higher price of a later day; null before the first snapshot',
    range_24h DOUBLE COMMENT 'high less low, over open, of the day; null unless 20 of the day''s hours have a price',
    PRIMARY KEY (coin_id, vs_currency, day)
) COMMENT = 'How prices moved: one row for each of daily_prices; 0.05 is 5 %';

CREATE TABLE IF NOT EXISTS transformed.trading_volumes (
    coin_id VARCHAR NOT NULL COMMENT 'The API''s id of the coin; symbols are in coins',
    vs_currency VARCHAR NOT NULL COMMENT 'Currency of volume, as in usd',
    day DATE NOT NULL COMMENT 'UTC day',
    volume DOUBLE COMMENT 'As in daily_prices; null where it is null there',
    median_30d DOUBLE COMMENT 'Median volume of the 30 days before the day; null unless all 30 are known',
    ratio_to_median DOUBLE COMMENT 'volume over median_30d; null where median_30d is zero or null',
    turnover DOUBLE COMMENT 'volume over market capitalization at the same moment; null unless both are known',
    market_share DOUBLE COMMENT 'Share of the volume of all tracked coins of the day; null where volume is null, or nothing was traded',
    unusual BOOLEAN COMMENT 'Whether ratio_to_median is 2.5 or more; null where ratio_to_median is null',
    PRIMARY KEY (coin_id, vs_currency, day)
) COMMENT = 'How much was traded: one row for each of daily_prices';

CREATE TABLE IF NOT EXISTS transformed.market_sentiment (
    vs_currency VARCHAR NOT NULL COMMENT 'Currency of market capitalizations, as in usd',
    day DATE NOT NULL COMMENT 'UTC day',
    fear_and_greed INTEGER COMMENT 'The Fear & Greed index of the day, 0 to 100; null where the index has none',
    fear_and_greed_class VARCHAR COMMENT 'The same in words, as the index itself puts it; null where the index has none',
    breadth_1d DOUBLE COMMENT 'Share of the coins that rose in a day, of those with a return_1d; null where no coin has a return_1d',
    breadth_7d DOUBLE COMMENT 'Share of the coins that rose in 7 days, of those with a return_7d; null where no coin has a return_7d',
    above_50d_mean DOUBLE COMMENT 'Share of the coins that closed above the mean of their last 50 closes, of those with a close on each of these days; null where no coin has all of these',
    bitcoin_dominance DOUBLE COMMENT 'Bitcoin''s share of total_market_cap; null where bitcoin has no market capitalization',
    stablecoin_share DOUBLE COMMENT 'Share of total_market_cap of the coins that are pegged to a currency; null where none of these coins is tracked',
    total_market_cap DOUBLE COMMENT 'Market capitalization of the tracked coins together, in vs_currency; null where no coin has a market capitalization',
    total_market_cap_change_1d DOUBLE COMMENT 'Its change since the day before, over the coins with a market capitalization on both days: a coin newly tracked is no rise; null where no coin has a market capitalization on both',
    coins INTEGER NOT NULL COMMENT 'Coins with a market capitalization, which total_market_cap is of',
    PRIMARY KEY (vs_currency, day)
) COMMENT = 'How the market felt: one row a day; over tracked coins, so not over the whole market; 0.05 is 5 %';

CREATE TABLE IF NOT EXISTS transformed.model_inputs (
    input VARCHAR NOT NULL COMMENT 'Table that the models read',
    day DATE NOT NULL COMMENT 'UTC day',
    row_count INTEGER NOT NULL COMMENT 'Rows that it had of the day',
    loaded_at TIMESTAMP_NTZ(6) NOT NULL COMMENT 'When the newest of them was loaded, UTC',
    definition VARCHAR NOT NULL COMMENT 'Checksum of the SQL that the models were made with',
    PRIMARY KEY (input, day)
) COMMENT = 'What the models were last made from, so that they are made again from the first day that differs: one row a table a day';

GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE &{database}.transformed.fear_and_greed TO ROLE &{loader};
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE &{database}.transformed.daily_prices TO ROLE &{loader};
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE &{database}.transformed.price_moves TO ROLE &{loader};
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE &{database}.transformed.trading_volumes TO ROLE &{loader};
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE &{database}.transformed.market_sentiment TO ROLE &{loader};
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE &{database}.transformed.model_inputs TO ROLE &{loader};

GRANT SELECT ON TABLE &{database}.transformed.fear_and_greed TO ROLE &{reader};
GRANT SELECT ON TABLE &{database}.transformed.daily_prices TO ROLE &{reader};
GRANT SELECT ON TABLE &{database}.transformed.price_moves TO ROLE &{reader};
GRANT SELECT ON TABLE &{database}.transformed.trading_volumes TO ROLE &{reader};
GRANT SELECT ON TABLE &{database}.transformed.market_sentiment TO ROLE &{reader};
GRANT SELECT ON TABLE &{database}.transformed.model_inputs TO ROLE &{reader};
