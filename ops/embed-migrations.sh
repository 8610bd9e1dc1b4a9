#!/bin/bash
# SPDX-License-Identifier: MIT
# embed-migrations.sh FILE...: migrations/*.sql as a C file on standard output, in order.  The
# program carries them, so that it cannot be run with others than it was built and tested with.
set -u
export LC_ALL=C
last=000
mapfile -t files < <(printf '%s\n' "$@" | sort)

echo '/* Made by ops/embed-migrations.sh; do not edit. */'
echo '#include "io/postgres_migrations.h"'
for file in "${files[@]}"; do
	name=${file##*/}
	number=${name%%_*}
	[[ $name =~ ^[0-9]{3}_[a-z0-9_]+\.sql$ && -s $file ]] ||
		{ echo "$file: a migration is called NNN_name.sql and is not empty" >&2; exit 1; }
	! grep -qaP '\x00' "$file" || { echo "$file: holds a NUL" >&2; exit 1; }
	[[ $number > $last ]] || { echo "$file: there is a migration $number already" >&2; exit 1; }
	last=$number
	echo
	echo "static const unsigned char sql_$number[] = {"
	od -An -v -tx1 "$file" | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'
	echo '	0 };'
done
echo
echo 'const struct postgres_migration postgres_migrations[] = {'
for file in "${files[@]}"; do
	name=${file##*/}
	echo "	{ \"$name\", (const char *)sql_${name%%_*} },"
done
echo '};'
echo 'const size_t postgres_migration_count ='
echo '	sizeof postgres_migrations / sizeof postgres_migrations[0];'
