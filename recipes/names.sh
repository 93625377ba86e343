#!/usr/bin/env bash
# From the data folder to the model folder: recipes/names.sh DATA OUT
#
# Every stage is skipped when its result is there and training resumes from its last checkpoint,
# so the script can be stopped at any moment and started again. The numbers that depend on the
# hardware can be set from outside: LINES, FIRST (network of the first stage), FIRST_EPOCHS,
# EPOCHS, BATCH, RATE. The included model was trained with those of the GPU branch.
set -euo pipefail
data=$1 out=$2 here=$(cd "$(dirname "$0")" && pwd)
if command -v nvidia-smi > /dev/null; then
  : "${LINES:=230000}" "${FIRST:=teacher}" "${FIRST_EPOCHS:=3}" "${EPOCHS:=17}" "${BATCH:=1024}" "${RATE:=0.003}"
else # two cores: some three hours; LINES=30000 FIRST_EPOCHS=1 EPOCHS=2 took one (docs/log.md)
  : "${LINES:=80000}" "${FIRST:=names}" "${FIRST_EPOCHS:=2}" "${EPOCHS:=8}" "${BATCH:=64}" "${RATE:=0.002}"
fi
clean=(--case upper --accents strip --alphabet " '-ABCDEFGHIJKLMNOPQRSTUVWXYZ")
common=(--resume --batch-size "$BATCH" --save-every 5m)

[ -e "$out/agreed.parquet" ] || python "$here/names/prepare.py" "$data" "$out"
[ -e "$out/synth" ] || penname synth --data "$data" --out "$out/synth" --lines "$LINES" --seed 2
[ -e "$out/validation" ] ||
  penname pack "$out/validation.parquet" --out "$out/validation" --validation 1 "${clean[@]}"

# 1. A first model, on synthetic names, 300 labels and what two machine readers agree on.
[ -e "$out/agreed" ] ||
  penname pack "$out/labelled.parquet" "$out/agreed.parquet" --out "$out/agreed" --validation 0 "${clean[@]}"
[ -e "$out/first-model/model.json" ] || {
  penname train --pack "$out/synth" --pack "$out/agreed" --pack "$out/validation" --mix 1,8,1 \
    --preset "$FIRST" --epochs "$FIRST_EPOCHS" --out "$out/first" "${common[@]}"
  penname export --checkpoint "$out/first" --out "$out/first-model" --name first \
    --language "$data/names_frequency.csv"
}

# 2. It reads the unlabelled crops; where readers agree, that is their label.
[ -e "$out/readings.csv" ] || {
  penname read "$data/names_unlabelled.parquet" --model "$out/first-model" --csv "$out/readings.part" > /dev/null
  mv "$out/readings.part" "$out/readings.csv"
}
[ -e "$out/relabelled.parquet" ] ||
  python "$here/names/relabel.py" "$data" "$out/readings.csv" "$out/relabelled.parquet"
[ -e "$out/relabelled" ] ||
  penname pack "$out/labelled.parquet" "$out/relabelled.parquet" --out "$out/relabelled" --validation 0 "${clean[@]}"

# 3. The model itself, with a language of names, its confidence fitted on verified labels.
penname train --pack "$out/synth" --pack "$out/relabelled" --pack "$out/validation" --mix 1,10,1 \
  --preset names --epochs "$EPOCHS" --learning-rate "$RATE" --dropout 0.15 --out "$out/run" "${common[@]}"
penname export --checkpoint "$out/run" --out "$out/names" --name names \
  --language "$data/names_frequency.csv" --calibrate "$out/verified.parquet"
for labels in validation verified; do
  penname evaluate --model "$out/names" --data "$out/$labels.parquet" --html "$out/$labels.html"
done
