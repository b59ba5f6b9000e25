#!/bin/sh
# Installs the packages of uv.lock into .venv of the current folder. The Dockerfile's build stages run it, and check.sh
# runs it too.
#
#   install.sh dependencies [EXTRA...]    everything but the project, so that a change of code keeps this layer
#   install.sh project [EXTRA...]         the project, as files of its own rather than as links to the sources
set -eu
what=$1
shift
options=
for extra in "$@"; do
    options="$options --extra $extra"
done
case $what in
dependencies) options="$options --no-install-project" ;;
project) options="$options --no-editable" ;;
*) echo "install.sh: dependencies or project, not $what" >&2 && exit 2 ;;
esac
# Imports without compiled files take two to three times as long, and a function's file system cannot be written to.
export UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
# shellcheck disable=SC2086 # the options are words
exec uv sync --frozen --no-default-groups $options
