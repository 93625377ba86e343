#!/usr/bin/env bash
# From the Kaggle download to models and their scores: recipes/kaggle.sh PATH OUT
#
# PATH is the unpacked data set landlord/handwriting-recognition (or recipes/kaggle/layout.py's
# rehearsal of it). Trains penname's network and the 2021 project's on its train table, chooses
# epochs and fits the confidence on its validation table, and scores each once on its test table,
# labels as they are. The language of names is counted in the train table. Can be stopped at any
# moment and started again. Can be set from outside: NETWORKS, EPOCHS, BATCH, START (a model of the
# same network to begin from: names, with NETWORKS=names), and TIME_LIMIT of one network's training in one session, as
# 4h: what is there by then is exported and scored.
set -euo pipefail
trap 'exit 130' INT # for training takes Ctrl-C, saves and returns as if it were through
path=$1 out=$2 here=$(cd "$(dirname "$0")" && pwd)
if command -v nvidia-smi > /dev/null; then
  : "${EPOCHS:=12}" "${BATCH:=512}"
else # two cores: a night; docs/experiments.md has the parts
  : "${EPOCHS:=3}" "${BATCH:=64}"
fi
: "${NETWORKS:=names origin}" "${START:=}" "${TIME_LIMIT:=}"
clean=(--case upper --accents strip --alphabet " '-ABCDEFGHIJKLMNOPQRSTUVWXYZ")
declare -A image=([names]="" [origin]="--height 64 --max-width 256 --fit crop --trim none")
declare -A rate=([names]=0.002 [origin]=0.001)

for network in $NETWORKS; do
  [ -e "$out/$network-pack" ] ||
    penname pack "$path" --out "$out/$network-pack" "${clean[@]}" ${image[$network]}
  penname train --pack "$out/$network-pack" --out "$out/$network-run" --resume --preset "$network" \
    --epochs "$EPOCHS" --batch-size "$BATCH" --learning-rate "${rate[$network]}" --time-limit "$TIME_LIMIT" \
    ${START:+--from "$START"}
  [ -e "$out/names.csv" ] || {
    python "$here/kaggle/counts.py" "$out/$network-pack" "$out/names.part"
    mv "$out/names.part" "$out/names.csv"
  }
  penname export --checkpoint "$out/$network-run" --out "$out/$network" --name "kaggle-$network" \
    --language "$out/names.csv" --calibrate "$path/written_name_validation_v2.csv"
  penname evaluate --model "$out/$network" --data "$path/written_name_test_v2.csv" --html "$out/$network.html"
done
