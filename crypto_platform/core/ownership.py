"""Who answers for the assets, as Dagster shows it and alerts can be routed by it."""

OWNERS = ("team:data-platform",)
