#!/bin/bash
# The old way: a start-up script that runs a seed helper once for each secret, exports the answer and becomes the
# command. The helper stands beside this file.
#
#   start.sh NAME=SECRET... -- COMMAND [ARG...]
set -euo pipefail

while [[ $1 != -- ]]; do
  value=$("${0%/*}/seed" "${1#*=}") # not `export "x=$(...)"`: export's own 0 would hide a failure
  export "${1%%=*}=$value"
  shift
done
shift
exec "$@"
