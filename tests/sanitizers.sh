# SPDX-License-Identifier: MIT
# Sourced by the test runners.  Sanitizers write to files, because a report in a forked child
# or in a server that is stopped later fails nothing by itself: each runner looks for files.
#
#   sanitizer_env BUILD [NAME]   sets SAN_LOGS (emptied; NAME's own) and the *SAN_OPTIONS
#   sanitizer_reports     prints what was reported; true if there was something
#   $noaslr               prefix: TSan and old ASan break under large address randomisation

sanitizer_env()
{
	SAN_LOGS=$(cd "$1" && pwd)/san-logs${2:+/$2}
	rm -rf "$SAN_LOGS"
	mkdir -p "$SAN_LOGS"
	top=$(cd "$(dirname "$0")/.." && pwd)
	export ASAN_OPTIONS="log_path=$SAN_LOGS/asan:detect_stack_use_after_return=1:strict_string_checks=1:abort_on_error=0:exitcode=86${ASAN_EXTRA:+:$ASAN_EXTRA}"
	export UBSAN_OPTIONS="log_path=$SAN_LOGS/ubsan:print_stacktrace=1:halt_on_error=1"
	export TSAN_OPTIONS="log_path=$SAN_LOGS/tsan:suppressions=$top/tests/tsan.supp:second_deadlock_stack=1:exitcode=86"
	export LSAN_OPTIONS="suppressions=$top/tests/lsan.supp:print_suppressions=0"
}

# Criterion leaks 48 bytes now and then.  A suppression for it would match every stack, since all
# tests are called by it; so only a leak that it allocated itself (frame 1) is passed over.
criterions_own()
{
	awk 'BEGIN { RS = "" }
		/^=+[0-9]*=*$/ || /ERROR: LeakSanitizer: detected memory leaks$/ || /^SUMMARY:/ { next }
		/^(Direct|Indirect) leak/ && /\n *#1 [^\n]*libcriterion\.so[^\n]*(\n|$)/ { own++; next }
		{ other++ }
		END { exit !(own && !other) }' "$1"
}

sanitizer_reports()
{
	local found=1 f
	for f in "$SAN_LOGS"/*; do
		[ -s "$f" ] || continue
		criterions_own "$f" && continue
		echo "--- sanitizer report: $f"
		head -n 60 "$f"
		found=0
	done
	return $found
}

noaslr=
if setarch "$(uname -m)" -R true 2>/dev/null; then
	noaslr="setarch $(uname -m) -R"
fi
