#!/bin/sh
# SPDX-License-Identifier: MIT
# The version of this tree: the nearest tag, else VERSION and the commit, else VERSION alone.
# CONSTRUCT_VERSION says it where there is no git: in the build of an image.
cd "$(dirname "$0")/.." || exit 1
[ -z "${CONSTRUCT_VERSION:-}" ] || { echo "$CONSTRUCT_VERSION"; exit; }
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
