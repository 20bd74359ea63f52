#!/bin/sh
# The Autobahn testsuite ignores its options --key and --cert where it is a server.
#
# `wstest --help` says of both: "required in server modes for WSS". In mode fuzzingserver they have no effect:
# wstest ends with "Secure WebSocket listen requested, but no SSL context factory given". It takes both from
# the specification instead, where nothing says so: as "key" and "cert", beside "url".
#
# Seen with: autobahntestsuite 25.10.1, autobahn 0.10.9, Twisted 19.10.0, Python 2.7.18, OpenSSL 3.0.
# Needs a Python 2.7 with pip (PYTHON27 names it, if it is not python2.7) and openssl.
# Fails if: the options have an effect, or those of the specification have none.
set -eu

python=${PYTHON27:-python2.7}
folder=$(mktemp -d)
server=""
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"

{
  "$python" -m pip install --quiet --disable-pip-version-check --target tool "virtualenv==20.15.1"
  PYTHONPATH=tool "$python" -m virtualenv --quiet --app-data "$folder/data" environment
  environment/bin/pip install --quiet --disable-pip-version-check autobahntestsuite==25.10.1
} >install.log 2>&1 || { cat install.log; exit 1; }
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost 2>/dev/null
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

wstest() {
  PYTHONUNBUFFERED=1 exec environment/bin/python -W ignore environment/bin/wstest --mode fuzzingserver --webport 0 "$@"
}

# specification EXTRA
specification() {
  echo "{\"url\": \"wss://127.0.0.1:$port\", \"outdir\": \"$folder/reports\", \"cases\": [\"1.1.1\"]," \
    "\"exclude-cases\": [], \"exclude-agent-cases\": {}$1}"
}

specification "" >options.json
if (wstest --spec options.json --key key.pem --cert cert.pem) >options.log 2>&1; then
  echo "the options have an effect" && exit 1
fi
grep -q "no SSL context factory given" options.log || { cat options.log; exit 1; }
echo "--key and --cert: $(tail -n 1 options.log)"

specification ", \"key\": \"key.pem\", \"cert\": \"cert.pem\"" >specification.json
(wstest --spec specification.json) >specification.log 2>&1 &
server=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  if echo | openssl s_client -connect "127.0.0.1:$port" 2>/dev/null | grep -q "subject=CN = localhost"; then
    echo "key and cert of the specification: it listens, and shows the certificate"
    exit 0
  fi
  sleep 0.5
done
cat specification.log
exit 1
