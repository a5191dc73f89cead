#!/usr/bin/env bash
# Makes the PKCS12 files of this directory, with keytool and openssl, of what is in network/keystore/testdata. All passwords
# are "changeit".
set -euo pipefail
cd "$(dirname "$0")"
from=../../../network/keystore/testdata
keytool() { command keytool -J-Duser.language=en "$@" 2>/dev/null; }
export="openssl pkcs12 -export -inkey $from/client.key -in $from/client.pem -certfile $from/ca.pem -name client -passout pass:changeit"
$export -out openssl3.p12
$export -legacy -out legacy.p12 # as openssl 1 and Java before 20 wrote them: RC2-40 and 3DES
$export -certpbe PBE-SHA1-3DES -keypbe PBE-SHA1-3DES -macalg sha1 -out descert.p12
openssl pkcs12 -export -nokeys -in $from/ca.pem -passout pass:changeit -out unmarked.p12
rm -f keytool.p12 trust.p12 mixed.p12
keytool -importkeystore -srckeystore openssl3.p12 -srcstoretype PKCS12 -srcstorepass changeit -srcalias client \
	-destkeystore keytool.p12 -deststoretype PKCS12 -deststorepass changeit -destalias client
cp keytool.p12 mixed.p12
keytool -importcert -noprompt -file $from/ca.pem -alias authority -keystore mixed.p12 -storepass changeit
keytool -importcert -noprompt -file $from/ca.pem -alias authority -keystore trust.p12 -storetype PKCS12 -storepass changeit
