-- How a table that is there is brought to what the scripts say of it, on both engines. What stands in
-- braces cannot be bound; it comes from the scripts themselves.

-- name: add_column
ALTER TABLE transformed.{table} ADD COLUMN {column} {sql_type};

-- name: comment_column
COMMENT ON COLUMN transformed.{table}.{column} IS {description};

-- name: fill_column
UPDATE transformed.{table} SET {column} = ?;

-- name: set_type
ALTER TABLE transformed.{table} ALTER COLUMN {column} SET DATA TYPE {sql_type};

-- name: set_not_null
ALTER TABLE transformed.{table} ALTER COLUMN {column} SET NOT NULL;

-- name: drop_not_null
ALTER TABLE transformed.{table} ALTER COLUMN {column} DROP NOT NULL;
