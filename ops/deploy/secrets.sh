# SPDX-License-Identifier: MIT
# ops/secrets.list, the checks of its values, and the form that fly takes them in; read by other
# scripts after common.sh and envfile.sh, never run.  No message shows a value.

declare -A roles_of=() kind_of=() need_of=() what_of=()
listed=()

list_read()
{
	local name roles what kind need rest file=$home/ops/secrets.list
	while read -r name roles what kind need rest; do
		case $name in '' | '#'*) continue ;; esac
		[ -n "$need" ] && [ -z "$rest" ] || die 70 "$file: not five words: $name"
		[ "$roles" = all ] && roles=server,gateway,worker
		listed+=("$name")
		roles_of[$name]=,$roles, what_of[$name]=$what kind_of[$name]=$kind need_of[$name]=$need
	done <"$file"
	# What the caller's shell exported is not for the programs that we start.
	unset "${listed[@]}"
}

# Texts that examples stand for; the program refuses the same ones (src/roles/config.c).
is_example()
{
	local text=${1,,} part
	for part in change_me change-me changeme change_this change-this changethis your_ your- example \
		placeholder replace_me replace-me replaceme replace_th replace-th insert_ insert- secret_here secret-here '<'; do
		[[ $text == *"$part"* ]] && return 0
	done
	return 1
}

# abcabcabc, 0000000: a text that repeats a short beginning all along.
repeats()
{
	local text=$1 len=${#1} period
	for ((period = 1; period <= 16 && period * 2 <= len; period++)); do
		[ "${text:0:len-period}" = "${text:period}" ] && return 0
	done
	return 1
}

# aaaaaaaaaaaaaab: fewer than six different characters, as in src/roles/config_secret.c.
few_characters()
{
	local rest=$1 count=0
	while [ -n "$rest" ] && [ $count -lt 6 ]; do
		count=$((count + 1)) rest=${rest//"${rest:0:1}"/}
	done
	[ $count -lt 6 ]
}

# Says what is wrong with a secret that must be strong, or nothing.
fault_of_strength() # VALUE MIN
{
	if is_example "$1"; then echo "is an example's text"
	elif [ ${#1} -lt "$2" ]; then echo "is shorter than $2 characters"
	elif repeats "$1"; then echo 'is a pattern that repeats'
	elif few_characters "$1"; then echo 'has too few different characters'
	fi
}

fault_of_url() # VALUE SCHEMES
{
	local scheme=${1%%://*} rest=${1#*://} login password host
	[[ $1 == *://* && "|$2|" == *"|$scheme|"* ]] || { echo "does not begin with ${2//|/:// or }://"; return; }
	rest=${rest%%[/?]*}
	login=${rest%@*} host=${rest##*@} password=${login#*:}
	[[ $rest == *@* && $login == *:* && -n $password ]] || { echo 'holds no password'; return; }
	if is_example "$password" || is_example "$host" || [[ $password == *[Pp]assword* ]]; then
		echo "holds an example's text"
	elif [ ${#password} -lt 16 ]; then echo 'holds a password shorter than 16 characters'
	elif repeats "$password"; then echo 'holds a password that repeats a pattern'
	elif few_characters "$password"; then echo 'holds a password of too few different characters'
	elif [[ $host =~ ^(localhost|127\.|\[::1\]) ]]; then echo 'leads to this machine, not to one that an app reaches'
	fi
}

# fault_of NAME VALUE: what is wrong, or nothing.
fault_of()
{
	local value=$2 arg=${kind_of[$1]#*:} low high
	case ${kind_of[$1]} in
	url:*) fault_of_url "$value" "$arg" ;;
	random:* | password:*) fault_of_strength "$value" "$arg" ;;
	hex:*)
		if is_example "$value"; then echo "is an example's text"
		elif [ ${#value} != "$arg" ] || [[ $value == *[!0-9a-fA-F]* ]]; then echo "is not $arg hexadecimal digits"
		elif repeats "$value"; then echo 'is a pattern that repeats'
		elif few_characters "$value"; then echo 'has too few different characters'
		fi ;;
	seed)
		[[ $value =~ ^[A-Za-z0-9+/_-]{43}=?$ ]] || { echo 'is not base64 of 32 bytes'; return; }
		! repeats "${value%=}" || echo 'is a pattern that repeats' ;;
	text) ! is_example "$value" || echo "is an example's text" ;;
	domain)
		if is_example "$value"; then echo "is an example's text"
		elif ! [[ $value =~ ^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}$ ]]; then echo 'is not the name of a domain'
		fi ;;
	true) [ "$value" = true ] || echo 'must be true: these roles have no other log' ;;
	bool) [[ $value == true || $value == false ]] || echo 'is neither true nor false' ;;
	choice:*) [[ $value != *'|'* && "|$arg|" == *"|$value|"* ]] || echo "is none of ${arg//|/, }" ;;
	number:*)
		low=${arg%:*} high=${arg#*:}
		[[ $value =~ ^[0-9]{1,9}$ ]] && [ "$((10#$value))" -ge "$low" ] && [ "$((10#$value))" -le "$high" ] || echo "is not a number from $low to $high" ;;
	*) echo "has an unknown kind in ops/secrets.list" ;;
	esac
}

is_needed()
{
	case ${need_of[$1]} in
	must) true ;;
	may | made) false ;;
	*=*) [ "${env_value[${need_of[$1]%%=*}]:-}" = "${need_of[$1]#*=}" ] ;;
	esac
}

# check_roles FOR ROLE...: every fault of what these roles are given, on standard error.
# FOR fly: also what `fly secrets import` cannot carry.  1 when there is a fault.
check_roles()
{
	local target=$1 name role fault wanted bad=0
	shift
	for name in "${listed[@]}"; do
		wanted=
		for role; do [[ ${roles_of[$name]} != *,$role,* ]] || wanted+=" $role"; done
		[ -n "$wanted" ] || continue
		fault=
		if [ -n "${env_value[$name]:-}" ]; then
			fault=$(fault_of "$name" "${env_value[$name]}")
			[ -n "$fault" ] || [ "$target" != fly ] || fault=$(fault_of_fly "${env_value[$name]}")
		elif is_needed "$name"; then
			fault='is missing'
			[ "${need_of[$name]}" = must ] || fault+=" (${need_of[$name]} needs it)"
		fi
		[ -z "$fault" ] || { complain "$name $fault  (for:$wanted)"; bad=$((bad + 1)); }
	done
	[ $bad = 0 ] || complain "$bad of these must be put right first; random ones: make secrets-generate"
	[ $bad = 0 ]
}

# --- the syntax of `fly secrets import` ------------------------------------------------------
#
# Lines NAME=VALUE.  There are no escapes.  A value between three double quotes is taken as it is
# and may go over lines; one line between single quotes loses just these.  Before it looks at
# quotes, fly cuts a first line at its first # when an even number of double quotes is before it;
# the three that open a value count.  It ends lines at \n and drops a \r before it, stops without
# a word at a line over 64 KiB, and ends a value at a line that ends in three double quotes.

# fly_form VALUE: into `fly_text`; false when there is no way to write it.
fly_form()
{
	local value=$1 first=${1%%$'\n'*} before quotes line rest
	[[ $value != *$'\r\n'* && ${#value} -le 60000 ]] || return 1
	before=${first%%#*}
	quotes=${before//[!\"]/}
	# An odd number of quotes before a #: with three more it would be even, and the line cut.
	if [[ $first == *'#'* ]] && [ $((${#quotes} % 2)) = 1 ]; then
		[[ $value != *$'\n'* ]] || return 1
		fly_text="'$value'"
		return
	fi
	rest=$value
	while [[ $rest == *$'\n'* ]]; do
		line=${rest%%$'\n'*} rest=${rest#*$'\n'}
		[[ $line != *'"""' ]] || return 1
	done
	fly_text='"""'$value'"""'
}

fault_of_fly()
{
	local fly_text
	if ! printf '%s' "$1" | iconv -f utf-8 -t utf-8 >/dev/null 2>&1; then echo 'is not UTF-8, which fly would change'
	elif ! fly_form "$1"; then
		echo 'cannot be carried by fly secrets import: \r before a line end, """ at a line end, an odd number of " before a # in the first of several lines, or over 60,000 bytes'
	fi
}

# The names that a role is given, in `given`.
names_for()
{
	local name
	given=()
	for name in "${listed[@]}"; do
		[[ ${roles_of[$name]} != *,$1,* || -z ${env_value[$name]:-} ]] || given+=("$name")
	done
}

# What fly reads for them, on standard output.
fly_lines()
{
	local name fly_text
	for name in "${given[@]}"; do
		fly_form "${env_value[$name]}" || return 1
		printf '%s=%s\n' "$name" "$fly_text"
	done
}
