"""Crypto prices from CoinGecko to a warehouse, as a Dagster asset graph."""
