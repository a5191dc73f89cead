// Package keystore reads the material of Kafka's ssl.* properties, private keys, certificate chains and trusted
// certificates, and makes a [tls.Config] of it that follows the files: a [Source] reads them again when they change.
//
// PEM (inline and in files, keys encrypted with PBES2 or PBES1 too) and JKS are built in. PKCS12 needs a library and is
// a module of its own, which a program links in by
//
//	import _ "github.com/quill-kafka/quill/plugin/keystore"
//
// Another format can be added with [Register].
//
// A producer that is configured by properties uses this package by itself; a program that builds its own [tls.Config]
// does not need it. Java: DefaultSslEngineFactory.
package keystore
