#!/usr/bin/env bash
# mkdocs 1.6.1: `mkdocs build --strict --quiet` succeeds on pages that `mkdocs build --strict` refuses.
#
# Seen: strict mode counts the warnings that are logged, and --quiet raises the level below which
# nothing is logged: the warning about a dead link is not counted, and the build exits with 0. So a
# quiet build in CI proves nothing; send the output elsewhere instead.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mkdocs==1.6.1
mkdir "$folder/docs"
echo '[A page that is not there](nowhere.md)' > "$folder/docs/index.md"
echo 'site_name: pages' > "$folder/mkdocs.yml"
cd "$folder"
code() { "$folder/venv/bin/mkdocs" build "$@" >/dev/null 2>&1 && echo 0 || echo $?; }
strict=$(code --strict)
quiet=$(code --strict --quiet)
echo "--strict: exit $strict; --strict --quiet: exit $quiet"
test "$strict" = 1
test "$quiet" = 0
