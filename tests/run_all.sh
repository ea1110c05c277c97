#!/usr/bin/env bash
# Run the named make targets one after the other, all of them whatever fails, and report the time of each.
# The last line counts tests; a stage that is not run by pytest counts as one.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p _build/test
passed=0 failed=0 skipped=0 report=""

count() { grep -oE "[0-9]+ $1" <<<"$2" | tail -n 1 | grep -oE '^[0-9]+' || echo 0; }

for stage in "$@"; do
  printf '\n== %s\n' "$stage"
  start=$SECONDS
  make --no-print-directory "$stage" 2>&1 | tee "_build/test/$stage.log"
  code=${PIPESTATUS[0]}
  closing=$(grep -E '^(=+ )?[0-9]+ (passed|failed|skipped|error|deselected).* in [0-9.]+s' "_build/test/$stage.log" | tail -n 1)
  if [ -n "$closing" ]; then
    passed=$((passed + $(count passed "$closing")))
    skipped=$((skipped + $(count skipped "$closing")))
    bad=$(($(count failed "$closing") + $(count 'errors?' "$closing")))
    if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    failed=$((failed + bad))
  elif [ "$code" -eq 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
  verdict=passed
  if [ "$code" -ne 0 ]; then verdict=FAILED; fi
  report+=$(printf '  %-10s %-6s %4d s' "$stage" "$verdict" $((SECONDS - start)))$'\n'
done

printf '\n%s  %-10s %-6s %4d s\n' "$report" "together" "" "$SECONDS"
echo "$passed passed, $failed failed, $skipped skipped" | tee _build/test/summary
[ "$failed" -eq 0 ]
