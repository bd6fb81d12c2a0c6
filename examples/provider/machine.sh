#!/bin/sh
# The script of a host that has one machine. Here that is an ssh server of its own, and what is in /srv/machine is its
# disk; yours may call ipmitool, virsh or docker.
set -eu

place=/srv/machine
port=2222
pid=/run/machine.pid

running() {
    test -e "$pid" && kill -0 "$(cat "$pid")" 2>/dev/null
}

on() {
    mkdir -p "$place"
    running || dropbear -R -p "$port" -P "$pid"
    until running; do sleep 0.1; done
}

off() {
    if running; then
        # With its sessions, which are its children.
        for one in $(pgrep -P "$(cat "$pid")" || true) "$(cat "$pid")"; do
            kill "$one" 2>/dev/null || true
        done
    fi
    while running; do sleep 0.1; done
    rm -f "$pid"
}

case $1 in
    prepare) mkdir -p /root/.ssh && cat >>/root/.ssh/authorized_keys ;;
    on) on ;;
    off | shutdown) off ;;
    reboot) off && on ;;
    state) if running; then echo running; else echo down; fi ;;
    save) tar -C "$place" -cf "$place.$2.tar" . ;;
    restore) rm -rf "$place" && mkdir "$place" && tar -C "$place" -xf "$place.$2.tar" ;;
    *) echo "$0: there is no command $1" >&2; exit 2 ;;
esac
