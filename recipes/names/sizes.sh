#!/usr/bin/env bash
# Train the same network on the same real crops at several line image sizes: sizes.sh OUT
#
# OUT is the folder of recipes/names.sh with its prepared tables. Prints the validation scores.
set -euo pipefail
out=$1
clean=(--case upper --accents strip --alphabet " '-ABCDEFGHIJKLMNOPQRSTUVWXYZ")
for size in "32 208" "48 320" "64 320"; do
  read -r height width <<< "$size"
  here="$out/size-$height-$width"
  spec=(--height "$height" --max-width "$width" "${clean[@]}")
  penname pack "$out/labelled.parquet" "$out/agreed.parquet" --out "$here/train" --validation 0 "${spec[@]}" > /dev/null
  penname pack "$out/validation.parquet" --out "$here/validation" --validation 1 "${spec[@]}" > /dev/null
  penname train --pack "$here/train" --pack "$here/validation" --out "$here/run" --epochs 4 2> /dev/null
  echo "$height x $width: $(tail -n 1 "$here/run/metrics.jsonl")"
done
