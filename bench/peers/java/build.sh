#!/bin/sh
# build.sh BIN LIBS: builds the Java peer into BIN. LIBS holds the jars of Apache Kafka's clients.
set -eu
if [ $# -ne 2 ]; then
  echo "usage: build.sh BIN LIBS" >&2
  exit 2
fi
mkdir -p "$1/java-classes"
bin=$(cd "$1" && pwd)
libs=$(cd "$2" && pwd)
cd "$(dirname "$0")/../.."
for size in 100 1024; do
  go run ./driver/values -size "$size" >"$bin/java-classes/values-$size.bin"
done
javac -cp "$libs/*" -d "$bin/java-classes" peers/java/Peer.java
cat >"$bin/java" <<END
#!/bin/sh
exec "$(command -v java)" -Xmx1g -Dvalues="$bin/java-classes" -cp "$bin/java-classes:$libs/*" Peer "\$@"
END
chmod +x "$bin/java"
