#!/usr/bin/env bash
# Nine minutes of training the photograph prior on a GPU: benchmarks/train_gpu.sh PHOTOS OUT [train.KEY=VALUE...]
set -eu
photos=$1 out=$2
shift 2
exec python "$(dirname "$0")/train_gpu.py" "$photos" --out "$out" --minutes "${MINUTES:-9}" --set "$@"
