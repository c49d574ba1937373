#!/usr/bin/env bash
# dagster 1.13.27: a run by execute_in_process is kept, and no code location has it.
#
# Seen: one instance keeps two runs of one job, one launched by `dagster job launch` and one made by
# execute_in_process. Asked for the runs of the repository, by the tag .dagster/repository that the
# UI's timeline and the page of a job ask by, it gives the launched one alone: the other has no origin,
# and shows in the list of all runs only.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27
mkdir "$folder/home"
touch "$folder/home/dagster.yaml"
cat > "$folder/hourly.py" <<'PYTHON'
import dagster as dg


@dg.op
def nothing() -> None:
    pass


@dg.job
def hourly() -> None:
    nothing()


defs = dg.Definitions(jobs=[hourly])
PYTHON
cat > "$folder/compare.py" <<'PYTHON'
import dagster as dg

from hourly import hourly

with dg.DagsterInstance.get() as instance:
    hourly.execute_in_process(instance=instance)
    of_repository = dg.RunsFilter(tags={".dagster/repository": "__repository__@hourly.py"})
    print(len(instance.get_runs()), "runs,", len(instance.get_runs(of_repository)), "of the repository")
PYTHON
cd "$folder"
export DAGSTER_HOME="$folder/home"
"$folder/venv/bin/dagster" job launch -f hourly.py -j hourly >/dev/null 2>&1
said=$("$folder/venv/bin/python" compare.py 2>/dev/null)
echo "$said"
test "$said" = "2 runs, 1 of the repository"
