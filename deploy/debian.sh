#!/bin/sh
# A make target (`test`) in a Debian of another release, from what is committed here: `debian.sh trixie test FOLDER`.
# Needs root, debootstrap and a network. The system stays in FOLDER for the next time; without one it lies in /var/tmp
# and goes at the end.
#
# What is mounted is seen in here alone and goes with the last process of it, however that ends; so does what a test
# left running.
set -eu
release=$1 target=$2 root=${3:-}
here=$(cd "$(dirname "$0")/.." && pwd)

[ "$(id -u)" = 0 ] && command -v debootstrap >/dev/null || {
    echo "Run as root, with debootstrap: apt-get install debootstrap" >&2
    exit 1
}
if [ -z "$root" ]; then
    root=$(mktemp -d /var/tmp/beffroi-debian-XXXXXX)
    trap 'rm -rf --one-file-system "$root"' EXIT
    trap 'exit 1' INT TERM
fi
if [ ! -e "$root/.installed" ]; then
    script=""  # an older debootstrap does not know the newest names, which all mean the same script
    [ -e "/usr/share/debootstrap/scripts/$release" ] || script=/usr/share/debootstrap/scripts/sid
    # shellcheck disable=SC2086
    debootstrap --variant=minbase --include=ca-certificates,git,make,python3 "$release" "$root" ${script:+"" $script}
    touch "$root/.installed"
fi

# The way to the packages is this machine's, its own authorities included.
for file in /etc/resolv.conf /etc/pip.conf; do
    [ ! -e "$file" ] || cp -L "$file" "$root/etc/"
done
if [ -d /usr/local/share/ca-certificates ]; then
    mkdir -p "$root/usr/local/share"
    cp -R /usr/local/share/ca-certificates "$root/usr/local/share/"
fi
rm -rf --one-file-system "$root/srv/beffroi"
git clone -q --no-hardlinks "$here" "$root/srv/beffroi"

# shellcheck disable=SC2016
unshare --mount --pid --fork --kill-child sh -c '
    for each in sys dev dev/pts dev/shm; do mount --bind "/$each" "$0/$each"; done
    mount -t proc proc "$0/proc"
    exec chroot "$0" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin CI="${CI:-}" sh -c "
        update-ca-certificates >/dev/null 2>&1
        cd /srv/beffroi && make $1"
' "$root" "$target"
