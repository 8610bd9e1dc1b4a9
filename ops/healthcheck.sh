#!/bin/bash
# SPDX-License-Identifier: MIT
# healthcheck.sh: is the role in this container ready?  Gateway and worker answer on HEALTH_PORT, a
# server, which has none, on PORT.  No program but bash is needed.
set -u
ready()
{
	local status
	exec 3<>"/dev/tcp/127.0.0.1/$1" || return
	printf 'GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
	read -r -t 4 _ status _ <&3 && [ "$status" = 200 ]
}
for port in "${HEALTH_PORT:-8081}" "${PORT:-8080}"; do
	(ready "$port") 2>/dev/null && exit 0
done
exit 1
