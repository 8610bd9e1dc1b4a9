# SPDX-License-Identifier: MIT
# Reader of environment files (.env); read by other scripts, never run.
#
#   NAME=value            to the end of the line, blanks around it and " # comment" left out
#   NAME='value'          as it is, over several lines if need be; ends at the next '
#   NAME="value"          over several lines if need be; \n \r \t \" \\ \$ \` are escapes
#   export NAME=value     the same
#
# $ means nothing: a value arrives byte for byte.  An empty value is one that is not set.  A name
# that comes twice is an error.  Nothing here runs a program with a value in its arguments, and
# no message shows one.

declare -A env_value=()
env_names=()

env_bad() { printf '%s:%d: %s\n' "$env_file" "$env_line" "$1" >&2; env_errors=$((env_errors + 1)); }

env_store()
{
	if [ -n "${env_seen[$1]:-}" ]; then
		env_bad "$1 comes twice (first on line ${env_seen[$1]})"
		return
	fi
	env_seen[$1]=$env_line
	[ -n "$2" ] || return 0
	env_value[$1]=$2
	env_names+=("$1")
}

# After a closing quote: nothing, or a comment.
env_rest() { [[ $2 =~ ^[[:space:]]*$ || $2 =~ ^[[:blank:]]+# ]] || env_bad "$1: text after the closing quote"; }

# One more line of a quoted value into `env_text`; false at the end of the file.
env_more()
{
	local more
	IFS= read -r more <&"$env_fd" || [ -n "$more" ] || return 1
	env_read_lines=$((env_read_lines + 1))
	env_text+=$'\n'$more
}

env_single() # NAME, text after the quote in env_text
{
	while [[ $env_text != *\'* ]]; do
		env_more || { env_bad "$1: no closing '"; return; }
	done
	env_store "$1" "${env_text%%\'*}"
	env_rest "$1" "${env_text#*\'}"
}

env_double() # NAME, text after the quote in env_text
{
	local value= plain c
	while :; do
		plain=${env_text%%[\"\\]*}
		value+=$plain
		env_text=${env_text#"$plain"}
		c=${env_text:0:1}
		if [ "$c" = '"' ]; then
			env_store "$1" "$value"
			env_rest "$1" "${env_text:1}"
			return
		elif [ -n "$c" ] && [ ${#env_text} -gt 1 ]; then
			c=${env_text:1:1}
			env_text=${env_text:2}
			case $c in
			n) value+=$'\n' ;;
			r) value+=$'\r' ;;
			t) value+=$'\t' ;;
			[\"\\\$\`]) value+=$c ;;
			*) value+=\\$c ;;
			esac
		elif ! env_more; then
			env_bad "$1: no closing \""
			return
		fi
	done
}

env_plain() # NAME, text after the = in env_text
{
	local value=$env_text
	[[ $value =~ [[:blank:]]# ]] && value=${value%%[[:blank:]]#*}
	value=${value%$'\r'}
	value=${value#"${value%%[![:blank:]]*}"}
	value=${value%"${value##*[![:blank:]]}"}
	env_store "$1" "$value"
}

# env_read FILE: fill env_value and env_names; 1 after messages, each with its line.
env_read()
{
	local env_file=$1 env_line=0 env_read_lines=0 env_errors=0 env_fd env_text line
	local -A env_seen=()
	env_value=() env_names=()
	[ -f "$env_file" ] || { printf '%s: is not there (cp .env.example %s)\n' "$env_file" "$env_file" >&2; return 1; }
	tr -d '\0' <"$env_file" | cmp -s - "$env_file" ||
		{ printf '%s: cannot be read, or holds a NUL byte\n' "$env_file" >&2; return 1; }
	exec {env_fd}<"$env_file"
	while IFS= read -r line <&"$env_fd" || [ -n "$line" ]; do
		env_read_lines=$((env_read_lines + 1))
		env_line=$env_read_lines
		[[ $line =~ ^[[:space:]]*(#.*)?$ ]] && continue
		if ! [[ $line =~ ^[[:blank:]]*(export[[:blank:]]+)?([A-Za-z_][A-Za-z0-9_]*)[[:blank:]]*=(.*)$ ]]; then
			env_bad 'is not NAME=value'
			continue
		fi
		line=${BASH_REMATCH[2]} env_text=${BASH_REMATCH[3]}
		if [[ $env_text =~ ^[[:blank:]]*(\'|\")(.*)$ ]]; then
			env_text=${BASH_REMATCH[2]}
			if [ "${BASH_REMATCH[1]}" = \' ]; then env_single "$line"; else env_double "$line"; fi
		else
			env_plain "$line"
		fi
	done
	exec {env_fd}<&-
	[ $env_errors = 0 ]
}
