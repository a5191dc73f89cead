#!/usr/bin/env bash
# Makes the files of this directory with openssl and keytool: an authority, a client certificate of it with its key in all the
# forms that are met, and stores. All passwords are "changeit", that of the key in keypass.jks is "keypass".
set -euo pipefail
cd "$(dirname "$0")"
days=36500
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days $days -subj "/CN=quill test authority"
openssl req -newkey rsa:2048 -nodes -keyout client.key -out client.csr -subj "/CN=quill test client"
openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out client.pem -days $days
openssl rsa -in client.key -traditional -out pkcs1.key
openssl ecparam -name prime256v1 -genkey -out ec.key # with EC PARAMETERS before the key
openssl req -new -key ec.key -subj "/CN=quill test client, EC" | openssl x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -out ec.pem -days $days
openssl rsa -in client.key -traditional -aes128 -passout pass:changeit -out legacy.key
topk8="openssl pkcs8 -topk8 -in client.key -passout pass:changeit"
for cipher in aes-128-cbc aes-192-cbc aes-256-cbc des3; do
	$topk8 -v2 $cipher -out "pbes2-$cipher.key"
done
for prf in hmacWithSHA1 hmacWithSHA224 hmacWithSHA384 hmacWithSHA512; do
	$topk8 -v2 aes-256-cbc -v2prf $prf -out "pbes2-$prf.key"
done
$topk8 -scrypt -out scrypt.key
for scheme in PBE-MD5-DES PBE-SHA1-DES PBE-SHA1-RC4-128 PBE-SHA1-RC4-40 PBE-SHA1-3DES PBE-SHA1-2DES PBE-SHA1-RC2-40; do
	$topk8 -v1 $scheme -provider legacy -provider default -out "pbes1-$scheme.key"
done
openssl pkcs12 -export -inkey client.key -in client.pem -certfile ca.pem -name client -passout pass:changeit -out client.p12
keytool() { command keytool -J-Duser.language=en "$@" 2>/dev/null; }
for keypass in changeit keypass; do
	out=client.jks
	[ $keypass = changeit ] || out=$keypass.jks
	rm -f $out
	keytool -importkeystore -srckeystore client.p12 -srcstoretype PKCS12 -srcstorepass changeit -srcalias client \
		-destkeystore $out -deststoretype JKS -deststorepass changeit -destkeypass $keypass -destalias client
done
rm -f trust.jks
keytool -importcert -noprompt -file ca.pem -alias authority -keystore trust.jks -storetype JKS -storepass changeit
rm -f client.csr ca.srl
