#!/bin/bash
# SPDX-License-Identifier: MIT
# docs.sh BUILD: generated pages are what the table says, and every link in a page leads somewhere.
set -u
cd "$(dirname "$0")/.." || exit 1
program=$1/construct
passed=0 failed=0

check() # NAME COMMAND...
{
	local name=$1
	shift
	if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAIL $name"; fi
}

same() { "$program" "$1" | diff -u "$2" - || { echo "$2 is stale: make docs"; return 1; }; }

links() # each relative link of a page
{
	local page=$1 bad=0 target
	while read -r target; do
		target=${target%%#*}
		[ -z "$target" ] || [ -e "$(dirname "$page")/$target" ] || { echo "$page: no $target"; bad=1; }
	done < <(grep -o '](\([^)]*\))' "$page" | sed 's/^](//; s/)$//' | grep -v '^[a-z]*:')
	return $bad
}

check params.md same --params-md docs/params.md
check env.example same --env-example .env.example
while read -r page; do check "$page" links "$page"; done < <(git ls-files '*.md')
echo "docs: $passed passed, $failed failed"
[ $failed = 0 ]
