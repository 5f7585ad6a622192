#!/bin/sh
# The Debian packages that are peers in the tests, or those named. Root: installed, with nothing started. Others: listed, then failure.
set -eu
wanted="postfix postfix-lmdb dovecot-imapd dovecot-lmtpd swaks libnet-ssleay-perl libio-socket-ssl-perl
unbound rspamd redis-server isync libsasl2-modules mutt msmtp gsasl offlineimap3 opendkim opendkim-tools curl strace postgresql openssl procps systemd"
[ $# -eq 0 ] || wanted="$*"
missing=""
for package in $wanted; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "The tests need these packages:$missing" >&2
    echo "Run: sudo apt-get install$missing" >&2
    exit 1
fi
case " $missing " in
*" postfix "*)
    other=$(dpkg-query -W -f '${Package} ${db:Status-Status} ${Provides}\n' 2>/dev/null |
        awk '$2 == "installed" && /mail-transport-agent/ {print $1; exit}')
    if [ -n "$other" ] && [ -z "${CI:-}" ]; then
        echo "Installing postfix would replace $other on this machine; set CI=1 to allow it." >&2
        exit 1
    fi ;;
esac
echo "Installing$missing ..."
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get -qq update
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >/dev/null
