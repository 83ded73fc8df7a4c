#!/bin/sh
# Install Debian packages that are missing, where we are root on such a system; say loudly what is not possible.
# Usage: debian-packages.sh COMMAND:PACKAGE...   (the package is wanted if the command is not found)
missing=""
for pair in "$@"; do
    found=$(PATH="$PATH:/usr/sbin:$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tr '\n' ':')" command -v "${pair%%:*}")
    [ -n "$found" ] || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Debian packages:$missing"
    export DEBIAN_FRONTEND=noninteractive
    # Only binaries are wanted: no service is to start by itself.
    printf '#!/bin/sh\nexit 101\n' >/tmp/normlab-policy-rc.d
    [ -e /usr/sbin/policy-rc.d ] || { install -m 755 /tmp/normlab-policy-rc.d /usr/sbin/policy-rc.d; remove=1; }
    apt-get update -q >/dev/null && apt-get install -y -q --no-install-recommends $missing >/dev/null
    status=$?
    [ -z "$remove" ] || rm -f /usr/sbin/policy-rc.d
    [ "$status" = 0 ] && exit 0
fi
echo "NOT INSTALLED:$missing. What needs them is skipped." >&2
