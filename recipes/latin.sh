#!/usr/bin/env bash
# From the data folder to the model folder `latin`: recipes/latin.sh DATA OUT
#
# Two networks, for lines of 64 pixels and, for another look at what is doubtful, of 48; what follows
# the convolutions of the first one learns names in capitals after that. Can be stopped at any moment
# and started again. SYNTHETIC (synthetic ones), EPOCHS, SECOND_EPOCHS, NAMES_EPOCHS, BATCH, RATE, MIX
# (how often an epoch goes through lines, places, words, synthetic and validation lines), FROM, a
# model that the first network starts from, and NOVELS, a text that latin/novels.py made, in which
# pairs of words are counted too, can be set from outside; with SECOND_EPOCHS=0 there is no second
# network, with NAMES_EPOCHS=0 names are not learnt. On one H100 an epoch of the first takes 9 s, so
# all should be 25 minutes (the included networks: see their card); on two CPU cores with BF16 it
# takes 14 minutes, so all should be a night and a half. Seven epochs of the first alone, two hours
# there (EPOCHS=7 SECOND_EPOCHS=0 NAMES_EPOCHS=0): 12.4 % CER of lines, 8.7 of words, 4.1 of places;
# eight more from there with NOVELS (RATE=0.0008): 10.2, 7.5 and 3.5; ten more with more of the lines
# (MIX=1,0.4,0.15,0.2,1): 8.7, 8.0 and 3.1 (docs/log.md).
set -euo pipefail
trap 'exit 130' INT # for training takes Ctrl-C, saves and returns as if it were through
data=$1 out=$2 here=$(cd "$(dirname "$0")" && pwd)
if command -v nvidia-smi > /dev/null; then
  : "${SYNTHETIC:=20000}" "${EPOCHS:=110}" "${SECOND_EPOCHS:=90}" "${BATCH:=128}" "${RATE:=0.002}"
else
  : "${SYNTHETIC:=20000}" "${EPOCHS:=30}" "${SECOND_EPOCHS:=20}" "${BATCH:=32}" "${RATE:=0.001}"
fi
: "${NAMES_EPOCHS:=2}" "${MIX:=1,0.7,0.4,0.3,1}"
mkdir -p "$out/second" "$out/crops"
[ -e "$out/words.parquet" ] || {
  python "$here/latin/draw_words.py" "$data/unipen_words_strokes.parquet" "$out/words.part"
  mv "$out/words.part" "$out/words.parquet"
}
[ -e "$out/texts.csv" ] || python "$here/latin/prepare.py" "$data" "$out" "$out/words.parquet"
[ -e "$out/ink/emnist_characters.npz" ] || python "$here/latin/ink.py" "$data" "$out" "$out/ink"

look() { # HEIGHT: the image spec of lines so high, in `size`, with the alphabet in `lines`
  size=(--height "$1" --trim sides --max-width $((42 * $1)) --width-step 64
    --writing 0.22 --slack 1.15 --rulings boxes)
  lines=("${size[@]}" --alphabet "$(cat "$here/latin/alphabet.txt")")
}

network() { # FOLDER HEIGHT EPOCHS [FROM]: packs and a run in the folder
  local size lines name
  look "$2"
  [ -e "$1/synthetic" ] ||
    penname synth --look lines --text "$out/ink/corpus.txt" --data "$out/ink" --lines "$SYNTHETIC" --seed "$2" \
      --out "$1/synthetic" "${size[@]}"
  for name in lines places words; do
    [ -e "$1/$name" ] || penname pack "$out/$name-train.parquet" --out "$1/$name" --validation 0 "${lines[@]}"
  done
  [ -e "$1/validation" ] ||
    penname pack "$out/lines-validation.parquet" "$out/places-validation.parquet" \
      "$out/words-validation.parquet" --out "$1/validation" --validation 1 "${lines[@]}"
  penname train --pack "$1/lines" --pack "$1/places" --pack "$1/words" --pack "$1/synthetic" \
    --pack "$1/validation" --mix "$MIX" --preset latin --epochs "$3" --batch-size "$BATCH" \
    --learning-rate "$RATE" --warmup 0.05 --augment 0.7 --validate-every 5 ${4:+--from "$4"} \
    --out "$1/run" --resume
}

decoding=(--language "$out/texts.csv" --language-weight 0.5 --word-share 0.4 --length-bonus 1.6)
[ -z "${NOVELS:-}" ] || decoding+=(--text "$NOVELS")
if [ "$SECOND_EPOCHS" != 0 ]; then
  network "$out/second" 48 "$SECOND_EPOCHS"
  penname export --checkpoint "$out/second/run" --out "$out/second/latin" --name latin-48
  penname quantise "$out/second/latin" --pictures "$out/lines-train.parquet"
  decoding+=(--second "$out/second/latin")
fi
network "$out" 64 "$EPOCHS" "${FROM:-}"

# Names in capitals, on which two machine readers agree, in the case that the network reads them in
# (docs/log.md, "Names with `latin`").
last=$out/run
if [ "$NAMES_EPOCHS" != 0 ]; then
  [ -e "$out/plain/model.json" ] || penname export --checkpoint "$out/run" --out "$out/plain" --name latin
  [ -e "$out/crops/agreed.parquet" ] || python "$here/names/prepare.py" "$data" "$out/crops"
  [ -e "$out/names-train.parquet" ] || {
    python "$here/latin/names.py" "$out/plain" "$out/names.part" "$out/crops/agreed.parquet"
    mv "$out/names.part" "$out/names-train.parquet"
  }
  look 64
  [ -e "$out/names" ] || penname pack "$out/names-train.parquet" --out "$out/names" --validation 0 "${lines[@]}"
  penname train --pack "$out/lines" --pack "$out/places" --pack "$out/words" --pack "$out/names" \
    --pack "$out/validation" --mix 1,0.7,0.5,2,1 --preset latin --from "$out/plain" --freeze stem,stages,apart \
    --epochs "$NAMES_EPOCHS" --batch-size 32 --learning-rate 0.0005 --warmup 0.05 --dropout 0.1 --augment 0.7 \
    --validate-every "$NAMES_EPOCHS" --out "$out/tuned" --resume
  last=$out/tuned
fi

penname export --checkpoint "$last" --out "$out/latin" --name latin "${decoding[@]}"
penname quantise "$out/latin" --pictures "$out/lines-train.parquet" --calibrate "$out/lines-validation.parquet"
for name in lines places words; do
  penname evaluate --model "$out/latin" --data "$out/$name-validation.parquet" --html "$out/$name.html"
done
[ "$NAMES_EPOCHS" = 0 ] || penname evaluate --model "$out/latin" --data "$out/crops/verified.parquet" --html "$out/names.html"
