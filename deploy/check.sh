#!/usr/bin/env bash
# Without a Docker engine: the commands of the Dockerfile's build stages, on a copy of what the image would be made of, in a
# folder of their own, with a Python like the image's. Then every entry is imported from there, and the server answers.
#
#   deploy/check.sh [PYTHON]      default: python3.12
set -euo pipefail
python=${1:-python3.12}
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
server=
trap 'test -z "$server" || kill "$server"; rm -rf "$folder"' EXIT

sources=$(sed -n '/AS build$/,/^FROM build/s/^COPY \(.*\) [^ ]*$/\1/p' "$root/deploy/Dockerfile")
version=$(sed -n 's/^ARG UV_VERSION=//p' "$root/deploy/Dockerfile")
# shellcheck disable=SC2086 # the sources are words
(cd "$root" && git ls-files -z -- $sources | xargs -0 cp --parents -t "$folder")
"$python" -m venv "$folder/uv"
"$folder/uv/bin/pip" install --quiet --disable-pip-version-check "uv==$version"

cd "$folder"
export PATH="$folder/uv/bin:$PATH" UV_PYTHON="$python"
# No compiler is in the image: nothing may need one.
export CC=/bin/false CXX=/bin/false
sed -n 's/^RUN \(deploy\/install.sh .*\)$/\1/p' "$root/deploy/Dockerfile" | while read -r step; do
    echo "== $step"
    $step
    du -sh .venv
    case $step in *project*) .venv/bin/scf-workers healthy --help >help.txt ;; esac
done

mkdir elsewhere && cd elsewhere
unset UV_PYTHON PYTHONPATH
for module in consumers.runners.drain consumers.runners.push consumers.runners.worker producer.cos_trigger producer.webhook producer.sweep \
    runtime.image pulsar qcloud_cos opentelemetry.sdk sandbox.environment; do
    ../.venv/bin/python -c "import $module; print('imports', '$module')"
done
PORT=9123 ../.venv/bin/python -m runtime.image consumers.runners.drain &
server=$!
for _ in $(seq 100); do
    if ../.venv/bin/python - 2>probe.txt <<'PROBE'; then break; fi
import json, urllib.error, urllib.request

call = urllib.request.Request("http://127.0.0.1:9123/event-invoke", b"{}", {"X-Scf-Timeout": "60000"})
try:
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(call)
except urllib.error.HTTPError as error:
    answer = json.load(error)
    assert (error.code, answer["errorCode"]) == (500, "BadSettings"), answer
    print("answers", answer)
PROBE
    sleep 0.1
done
cat probe.txt
test ! -s probe.txt
echo "the image's build steps work"
