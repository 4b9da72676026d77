#!/usr/bin/env bash
# Lets Apache Kafka judge the files of this library: fetches Kafka's jars through Maven, once, and runs the checks with the machine's Java.
#
#   ./run.sh [flags of the program: -run a, -keep, ...]
#
# Needs Go, a JDK of version 17 or newer, and for the first time Maven and the network. Where one of them is missing nothing is checked: it says
# so in a line that begins with SKIPPED, and exits 0; with QUIRE_INTEROP=require it exits 1.
#
#   KAFKA_VERSION         default: that of pom.xml
#   QUIRE_INTEROP_CACHE   folder of the jars; default: quire-interop in the user's cache folder
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

skip() {
  printf 'SKIPPED: nothing was judged by Kafka: %s\n' "$1"
  if [ "${QUIRE_INTEROP:-}" = require ]; then exit 1; fi
  exit 0
}

java=${JAVA_HOME:+$JAVA_HOME/bin/}java
command -v "$java" >/dev/null || skip 'no java'
major=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
[ "${major:-0}" -ge 17 ] || skip "Java is older than 17: $("$java" -version 2>&1 | head -n 1)"
"$java" --list-modules 2>/dev/null | grep -q '^jdk.compiler' || skip 'this Java has no compiler: a JDK is needed'

version=${KAFKA_VERSION:-$(sed -n 's/.*<kafka.version>\(.*\)<.*/\1/p' pom.xml)}
cache=${QUIRE_INTEROP_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/quire-interop}
lib=$cache/kafka-$version
if [ ! -d "$lib" ]; then
  command -v mvn >/dev/null || skip 'no Maven to fetch the jars of Kafka'
  mkdir -p "$cache"
  new=$(mktemp -d "$cache/new-XXXXXX")
  trap 'rm -rf "$new"' EXIT
  printf 'fetching Apache Kafka %s into %s\n' "$version" "$cache"
  limit=$(command -v timeout || true) # not on every system
  # -C: a wrong checksum is an error
  if ! ${limit:+$limit 600} mvn -B -q -C -Dkafka.version="$version" -DoutputDirectory="$new/lib" \
    org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies >"$new/maven.log" 2>&1; then
    tail -n 5 "$new/maven.log"
    skip 'Maven could not fetch the jars'
  fi
  [ -d "$lib" ] || mv "$new/lib" "$lib" # somebody else may have been quicker
  rm -rf "$new"
  trap - EXIT
fi

# Built and not "go run", which would die of a signal without telling the program, and leave a broker behind.
GOWORK=off go build -o interop .
exec ./interop -lib "$lib" -java "$java" "$@"
