#!/usr/bin/env bash
# From the data folder to the model folder `latin`: recipes/latin.sh DATA OUT
#
# Can be stopped at any moment and started again. EPOCHS, BATCH and RATE can be set from outside. The
# included model is 37 epochs (a GPU's 12 minutes in two leases, 13 and then 24 from where the first
# ended); on two CPU cores an epoch takes hours, so EPOCHS=5 is two nights.
set -euo pipefail
data=$1 out=$2 here=$(cd "$(dirname "$0")" && pwd)
if command -v nvidia-smi > /dev/null; then
  : "${EPOCHS:=37}" "${BATCH:=192}" "${RATE:=0.002}"
else
  : "${EPOCHS:=5}" "${BATCH:=24}" "${RATE:=0.001}"
fi
lines=(--height 48 --trim sides --max-width 2000 --width-step 64 --alphabet "$(cat "$here/latin/alphabet.txt")")
mkdir -p "$out"
[ -e "$out/words.parquet" ] || {
  python "$here/latin/draw_words.py" "$data/unipen_words_strokes.parquet" "$out/words.part"
  mv "$out/words.part" "$out/words.parquet"
}
[ -e "$out/words-validation.parquet" ] || python "$here/latin/prepare.py" "$data" "$out" "$out/words.parquet"
for name in lines places words; do
  [ -e "$out/$name" ] || penname pack "$out/$name-train.parquet" --out "$out/$name" --validation 0 "${lines[@]}"
done
[ -e "$out/validation" ] ||
  penname pack "$out/lines-validation.parquet" "$out/words-validation.parquet" --out "$out/validation" \
    --validation 1 "${lines[@]}"
penname train --pack "$out/lines" --pack "$out/places" --pack "$out/words" --pack "$out/validation" \
  --mix 2.3,1.5,0.8,1 --preset latin --epochs "$EPOCHS" --batch-size "$BATCH" --learning-rate "$RATE" \
  --augment 0.6 --out "$out/run" --resume
penname export --checkpoint "$out/run" --out "$out/latin" --name latin --calibrate "$out/lines-validation.parquet"
for name in lines words; do
  penname evaluate --model "$out/latin" --data "$out/$name-validation.parquet" --html "$out/$name.html"
done
