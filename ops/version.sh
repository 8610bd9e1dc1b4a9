#!/bin/sh
# SPDX-License-Identifier: MIT
# The version of this tree: the nearest tag, else VERSION and the commit, else VERSION alone.
cd "$(dirname "$0")/.." || exit 1
base=$(cat VERSION)
git_here() { git --no-optional-locks "$@" 2>/dev/null; }

if tag=$(git_here describe --tags --dirty --match 'v[0-9]*'); then
	echo "${tag#v}"
elif hash=$(git_here rev-parse --short=9 HEAD); then
	git_here diff-index --quiet HEAD -- && dirty= || dirty=-dirty
	echo "$base+g$hash$dirty"
else
	echo "$base"
fi
