#!/bin/bash
# SPDX-License-Identifier: MIT
# single_server.sh: every command block of docs/single-server.md, as it stands there, in a bare Debian
# (debootstrap) with a network of its own.  Stand-ins, since there is no systemd and no authority there:
# `git clone` copies this tree; certbot makes a certificate itself and calls the hook as certbot does;
# systemctl reads the installed unit and starts its ExecStart with its User, Environment,
# EnvironmentFile and capabilities; journalctl prints what that wrote.  Root; minutes; the network.
#
# DEPLOY_IMAGE=DIR: as in dockerfile_steps.sh.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/bare_debian.sh"
need_tools ip openssl
keep=${DEPLOY_IMAGE:-$root/build/deploy/image}
mkdir -p "$keep"
bare_debian
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
host=$work/host
cp -a "$keep/base" "$host"

# --- stand-ins -------------------------------------------------------------------------------

local_bin=$host/usr/local/bin
stand_in() { cat >"$local_bin/$1" && chmod 755 "$local_bin/$1"; }
python3 -c 'import sys; sys.path.insert(0, sys.argv[1]); import dockerfile; dockerfile.context(sys.argv[2], whole=True)' "$here" "$host/project" || exit 1
stand_in git <<'EOF'
#!/bin/sh
[ "$1 $2" = 'clone REPOSITORY' ] && exec cp -a /project "$3"
exec /usr/bin/git "$@"
EOF
stand_in certbot <<'EOF'
#!/bin/bash
set -eu
while [ $# -gt 0 ]; do
	case $1 in
	certonly | --standalone) ;;
	--deploy-hook) hook=$2; shift ;;
	-d) name=$2; shift ;;
	*) echo "certbot: $1?" >&2; exit 2 ;;
	esac
	shift
done
export RENEWED_LINEAGE=/etc/letsencrypt/live/$name
mkdir -p "$RENEWED_LINEAGE"
umask 077
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$name" -addext "subjectAltName=DNS:$name" \
	-keyout "$RENEWED_LINEAGE/privkey.pem" -out "$RENEWED_LINEAGE/fullchain.pem" 2>/dev/null
# As an authority that everybody trusts.
install -m 644 "$RENEWED_LINEAGE/fullchain.pem" /usr/local/share/ca-certificates/test.crt
update-ca-certificates >/dev/null
exec "$hook"
EOF
stand_in systemctl <<'EOF'
#!/bin/bash
set -eu
unit=/usr/local/lib/systemd/system/construct.service
value() { sed -n "s/^$1=//p" "$unit"; }
case $* in
daemon-reload) [ -f "$unit" ] ;;
'try-reload-or-restart construct') [ ! -e /run/construct.pid ] || kill -HUP "$(cat /run/construct.pid)" ;;
'enable --now construct')
	grep -q '^WantedBy=multi-user.target' "$unit"
	install -d -m "$(value StateDirectoryMode)" -o construct -g construct "/var/lib/$(value StateDirectory)"
	cap=$(value AmbientCapabilities | tr A-Z a-z)
	cd "$(value WorkingDirectory)"
	read -ra vars <<<"$(value Environment)"
	while IFS= read -r line; do vars+=("$line"); done <"$(value EnvironmentFile | sed 's/^-//')"
	# shellcheck disable=SC2046
	env -i PATH=/usr/bin:/bin "${vars[@]}" setpriv --no-new-privs --reuid=construct --regid=construct --clear-groups \
		--inh-caps="-all,+${cap#cap_}" --ambient-caps="-all,+${cap#cap_}" --bounding-set="-all,+${cap#cap_}" \
		$(value ExecStart) </dev/null >/var/log/construct.log 2>&1 &
	echo $! >/run/construct.pid ;;
*) echo "systemctl: $*?" >&2; exit 2 ;;
esac
EOF
stand_in journalctl <<'EOF'
#!/bin/sh
[ "$*" = '-u construct' ] && grep relay.started /var/log/construct.log
EOF
echo '127.0.0.1 localhost chat.example.org' >"$host/etc/hosts"

# --- the page --------------------------------------------------------------------------------

blocks=$(awk '/^```bash$/ { inside = 1; print "echo \"--- block $((++n))\""; next } /^```$/ { inside = 0 } inside' "$root/docs/single-server.md")
[ "$(grep -c '^echo "--- block' <<<"$blocks")" -ge 5 ] || { echo 'single_server: the page was not understood'; exit 1; }
# What needs the network of the host; the rest runs where port 443 is nobody's.
split=$(grep -n 'block $((++n))' <<<"$blocks" | sed -n 2p | cut -d: -f1)
{ echo 'set -eu; n=0'; sed "1,$((split - 1))!d" <<<"$blocks"; } >"$host/first.sh"
{
	echo 'set -eu; n=1; cd /construct'
	sed "1,$((split - 1))d" <<<"$blocks"
	# The hook again, as a renewal calls it: the relay goes on with the new certificate.
	cat <<-'EOF'
		echo '--- a renewal'
		certbot certonly --standalone --deploy-hook /usr/local/sbin/construct-certificate -d chat.example.org
		sleep 1
		construct probe wss://chat.example.org
		kill -TERM "$(cat /run/construct.pid)"
		until grep -q relay.stopped /var/log/construct.log; do sleep 0.2; done
		[ -s /var/backups/construct.db ] && [ "$(stat -c %a /var/backups/construct.db)" = 600 ]
		echo 'all blocks ran'
	EOF
} >"$host/rest.sh"
inside() # SCRIPT: in the root, as a login of root's has it
{
	env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive HOME=/ \
		unshare --mount --pid --fork ${2:-} /bin/sh -c '[ -z "$3" ] || ip link set lo up
			mount -t proc proc "$1/proc" && exec chroot "$1" /bin/bash "$2"' sh "$host" "$1" "${2:-}" </dev/null
}
log=$keep/single.log
if inside /first.sh >"$log" 2>&1 && inside /rest.sh --net >>"$log" 2>&1 && tail -n 1 "$log" | grep -qx 'all blocks ran'; then
	echo "single server: $(grep -c '^--- ' "$log") passed, 0 failed"
else
	tail -n 30 "$log"
	[ ! -e "$host/var/log/construct.log" ] || tail -n 10 "$host/var/log/construct.log"
	echo "single server: $(($(grep -c '^--- ' "$log") - 1)) passed, 1 failed; its output: $log"
	exit 1
fi
