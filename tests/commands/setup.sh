#!/bin/sh
# `make setup`: the packages and the three runtimes, below node_modules. Nothing is done where they are there already.
#
# node_modules/.installed is written last, when all is there and runs. It says for which lock file that was, and how
# many files there were: so what an interrupted set-up or removal has left is recognised, and made anew.
set -u
STAMP=node_modules/.installed
LOCK=.setup-lock
BUN=node_modules/.setup/node_modules/.bin/bun
VERSION=$(sed -n 's/.*"bun": "\(.*\)".*/\1/p' package.json)

state() {
  cksum <bun.lock
  sed -n '/ependencies"/,/[]}]/p' package.json | cksum
  find -H node_modules -path node_modules/.cache -prune -o -type f ! -path $STAMP -print | wc -l
}

fail() {
  rm -f $STAMP
  echo "error: make setup: $1" >&2
  echo "hint: $2" >&2
  exit 1
}

is_done() {
  [ -f $STAMP ] && [ "$(cat $STAMP)" = "$(state)" ]
}

runs() {
  kill -0 "$1" 2>/dev/null || ps -p "$1" >/dev/null 2>&1 # kill may not ask about what another user has started
}

# One set-up at a time: a second one would remove what the first is just installing. The lock is a folder, which is
# made in one step, and in it a file whose name is the number of our process. The lock of a process that has gone is
# broken: its file is removed, then the folder if it is empty, so that nobody breaks the lock of the next one. Where
# a second file is there, another process has made the folder anew between our two steps: we give way, and try again.
lock() {
  told='' tries=0
  until mkdir $LOCK 2>/dev/null && { echo >$LOCK/$$; } 2>/dev/null && [ "$(echo $LOCK/*)" = $LOCK/$$ ]; do
    rm -f $LOCK/$$
    owner=$(ls $LOCK 2>/dev/null)
    if [ -n "$owner" ] && runs "$owner"; then
      [ "$told" = "$owner" ] || echo "Another make setup (process $owner) is at work; this one waits for it."
      told=$owner tries=0
    else
      tries=$((tries + 1))
      [ $tries -lt 5 ] || fail "cannot make the folder $LOCK" "can this folder be written? if so, rm -r $LOCK"
      [ -z "$owner" ] || rm -f "$LOCK/$owner"
      rmdir $LOCK 2>/dev/null
    fi
    sleep 1
  done
  trap 'rm -f $LOCK/$$; rmdir $LOCK 2>/dev/null' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

if is_done; then exit 0; fi
lock
if is_done; then exit 0; fi # the other one has done it
[ -L node_modules ] || rm -rf node_modules # a link leads to what is somebody else's

# For npm here, and for the one that the package "node" starts: versions are fixed, so what is in the cache will do,
# and a missing network shows within seconds.
export npm_config_prefer_offline=true npm_config_fetch_retries=2
export npm_config_fetch_retry_mintimeout=1000 npm_config_fetch_retry_maxtimeout=2000

if [ "$(bun --version 2>/dev/null)" = "$VERSION" ]; then
  BUN=bun
else
  command -v npm >/dev/null || fail "npm is not there" "it comes with Node"
  echo "Bun $VERSION comes first; it brings the rest. Together about 500 MB."
  npm install --prefix node_modules/.setup --no-save --no-audit --no-fund --loglevel=error --ignore-scripts=false \
    "bun@$VERSION" ||
    fail "npm cannot get bun@$VERSION" "is there a network? npm's own words are above"
fi
$BUN install --frozen-lockfile || fail "bun install has failed" "is there a network? its own words are above"
echo "(What was blocked would compile faster parts of ssh2, which are not needed.)"
# A second install leaves in deno's place a Node script, which passes no signals on; deno mends that itself.
node node_modules/deno/install.cjs
rm -rf node_modules/.setup
for tool in bun node deno tsc zx; do
  node_modules/.bin/$tool --version >/dev/null || fail "$tool does not run" "rm -rf node_modules, and try again"
done
now=$(state)
echo "$now" >$STAMP
