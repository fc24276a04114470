#!/bin/sh
# `make setup`: the packages and the three runtimes, below node_modules. Nothing is done where they are there already.
#
# node_modules/.installed is written last, when all is there and runs. It says for which lock file that was, and how
# many files there were: so what an interrupted set-up or removal has left is recognised, and made anew.
set -u
STAMP=node_modules/.installed
BUN=node_modules/.setup/node_modules/.bin/bun
VERSION=$(sed -n 's/.*"bun": "\(.*\)".*/\1/p' package.json)

state() {
  cksum <bun.lock
  sed -n '/ependencies"/,/[]}]/p' package.json | cksum
  find node_modules/ -path node_modules/.cache -prune -o -type f ! -path $STAMP -print | wc -l
}

fail() {
  rm -f $STAMP
  echo "error: make setup: $1" >&2
  echo "hint: $2" >&2
  exit 1
}

if [ -f $STAMP ] && [ "$(cat $STAMP)" = "$(state)" ]; then exit 0; fi
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
