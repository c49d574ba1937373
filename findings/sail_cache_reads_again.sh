#!/usr/bin/env bash
# pysail 0.7.2 (Spark Connect) with pyspark 3.5.6: DataFrame.cache() keeps nothing, and says nothing.
#
# Seen: a cached frame is counted, its file replaced by a longer one, and the frame counted again: 1,
# then 2. Apache Spark says 1 and 1, as the rows are in memory by then. So whatever reads its source
# twice does so on Sail however it is cached; a job that must read once needs one query with one write.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pysail==0.7.2 pyspark==3.5.6 'pandas<3' pyarrow==21.0.0 setuptools \
    grpcio grpcio-status googleapis-common-protos
cat > "$folder/count.py" <<'PYTHON'
import sys
from pathlib import Path

from pysail.spark import SparkConnectServer
from pyspark.sql import SparkSession

server = SparkConnectServer("127.0.0.1", 0)
server.start(background=True)
address = server.listening_address
spark = SparkSession.builder.remote(f"sc://127.0.0.1:{address[1]}").getOrCreate()
lines = Path(sys.argv[1], "lines.json")
lines.write_text('{"value": 1}\n')
cached = spark.read.schema("value int").json(lines.as_uri()).cache()
before = cached.count()
lines.write_text('{"value": 1}\n{"value": 2}\n')
after = cached.count()
print(f"cached rows: {before}, after the file was replaced: {after}")
PYTHON
said=$("$folder/venv/bin/python" "$folder/count.py" "$folder" 2>/dev/null | tail -1)
echo "$said"
test "$said" = "cached rows: 1, after the file was replaced: 2"
