#!/bin/sh
# The commands of the lab. Each is a link to this file, and known by the link's name.
set -u
HOSTS="alice bob carol dave erin server"
MACHINES="$HOSTS router nat1 nat2"
name=${0##*/}

fail() { # what, hint, exit code
  echo "error: $1" >&2
  [ -z "$2" ] || echo "hint: $2" >&2
  exit "${3:-2}"
}

usage() { fail "usage: $name $1" ""; }

# Ends where a word is not among others.
known() { # word, others
  case " $2 " in
    *" $1 "*) ;;
    *) fail "$1: no such host (ENOENT)" "$(echo "$2" | sed 's/ /, /g')" 1 ;;
  esac
}

machine() { known "$1" "$MACHINES"; }

# Ends where a word is not a number from 0 to the given one, perhaps with a unit.
number() { # word, what, most
  case $1 in
    '' | *[!0-9]* | ??????????*) fail "$1: no number from 0 to $3 for $2 (EINVAL)" "" ;;
  esac
  [ "$1" -le "$3" ] || fail "$1: no number from 0 to $3 for $2 (EINVAL)" ""
}

# The hosts whose packets a command is about: the one that is named, or all.
chosen() {
  if [ -n "${1-}" ]; then known "$1" "$HOSTS"; echo "$1"; else echo $HOSTS; fi
}

on() { # machine, command...
  exec ip netns exec "$@"
}

base() { nsenter -t 1 -n "$@"; }

# The card sends slower and later: first the rate, then the delay. Without both, nothing is in the way.
shape() { # machine
  delay=$(cat "/run/lab/worse/$1.delay" 2>/dev/null || echo 0)
  rate=$(cat "/run/lab/worse/$1.rate" 2>/dev/null || echo 0)
  ip netns exec "$1" tc qdisc del dev eth0 root 2>/dev/null
  parent=root
  if [ "$delay" != 0 ]; then
    ip netns exec "$1" tc qdisc add dev eth0 root handle 1: netem delay "${delay}ms" limit 10000 2>/dev/null ||
      { rm "/run/lab/worse/$1.delay"; fail "this kernel cannot delay packets: it has no netem (ENOSYS)" "" 1; }
    parent="parent 1:1"
  fi
  [ "$rate" = 0 ] || ip netns exec "$1" tc qdisc add dev eth0 $parent tbf rate "${rate}bit" burst 16kb latency 100ms
}

case $name in
  down)
    [ $# = 1 ] || usage HOST
    machine "$1"
    on "$1" ip link set eth0 down
    ;;
  up)
    [ $# = 1 ] || usage HOST
    machine "$1"
    ip -n "$1" link set eth0 up
    exec ip -n "$1" -batch "/run/lab/routes/$1" # they were forgotten with the card
    ;;
  loss) # where a packet of the host reaches its switch
    [ $# = 1 ] || [ $# = 2 ] || usage "PERCENT [HOST]"
    number "$1" "a percentage" 100
    hosts=$(chosen "${2-}") || exit
    for host in $hosts; do
      base nft "table netdev loss-$host; delete table netdev loss-$host"
      case $1 in
        0) continue ;;
        100) some= ;;
        *) some="numgen random mod 100 < $1" ;;
      esac
      base nft "table netdev loss-$host { chain in {
        type filter hook ingress device \"$host\" priority 0; $some drop; }; }"
    done
    ;;
  delay)
    [ $# = 1 ] || [ $# = 2 ] || usage "MS [HOST]"
    number "$1" "a delay in ms" 10000
    hosts=$(chosen "${2-}") || exit
    for host in $hosts; do
      echo "$1" >"/run/lab/worse/$host.delay"
      shape "$host"
    done
    ;;
  rate)
    [ $# = 1 ] || [ $# = 2 ] || usage "BITS [HOST]   (500k, 1M; 0 is no limit)"
    digits=${1%[kM]}
    case $digits in
      '' | *[!0-9]* | ????????*) fail "$1: no rate like 500k or 1M (EINVAL)" "" ;;
    esac
    [ "$digits" -gt 0 ] && rate=$1 || rate=0
    hosts=$(chosen "${2-}") || exit
    for host in $hosts; do
      echo "$rate" >"/run/lab/worse/$host.rate"
      shape "$host"
    done
    ;;
  block) # a firewall on the host: it drops what comes to the port, and says nothing
    [ $# = 2 ] || usage "HOST PORT"
    machine "$1"
    number "$2" "a port" 65535
    on "$1" nft "table inet block-$2; delete table inet block-$2; table inet block-$2 { chain in {
      type filter hook input priority 0; meta l4proto { tcp, udp } th dport $2 drop; }; }"
    ;;
  unblock)
    [ $# = 2 ] || usage "HOST PORT"
    machine "$1"
    number "$2" "a port" 65535
    on "$1" nft "table inet block-$2; delete table inet block-$2"
    ;;
  wire)
    [ $# -ge 1 ] || usage "HOST [--port P] [--count N] ..."
    host=$1
    machine "$host"
    shift
    on "$host" bun "${0%/*}/../project/scripts/raw/wire.ts" --interface eth0 "$@"
    ;;
  lab)
    cat /run/lab/map - <<END

  alice COMMAND     run a command on alice; alice alone opens a shell there
  down bob, up bob  take bob's network card down, and up again
  loss 20           lose 20 % of the packets that each host sends; loss 20 bob
  delay 50          hold them for 50 ms
  rate 1M           let a host send 1 Mbit/s at most; loss 0, delay 0 and rate 0
                    end it
  block carol 5000  a firewall: carol drops what comes to this port; unblock
  wire alice        draw what alice's card sends and receives (5.2)
  lab               this page
END
    ;;
  lab-shell) # a shell with a name in its prompt; it keeps no history in a file
    export PS1="$1\$ " HISTFILE=
    command -v bash >/dev/null || exec sh -i
    exec bash --norc --noprofile -i
    ;;
  *)
    machine "$name"
    [ $# -gt 0 ] || set -- lab-shell "$name"
    on "$name" "$@"
    ;;
esac
