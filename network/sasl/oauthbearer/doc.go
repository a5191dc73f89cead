// Package oauthbearer gets the tokens that Kafka's SASL mechanism OAUTHBEARER authenticates with, and
// refreshes them ahead of their end: what the classes of org.apache.kafka.common.security.oauthbearer do
// in Java, with their defaults.
//
// A [Login] holds the token that all connections of a producer use. Its [Retriever] gets it:
//
//   - [ClientCredentials] from the token endpoint of an identity provider, with a client secret (KIP-768)
//     or a client assertion instead of it (KIP-1258, RFC 7523 §2.2);
//   - [JWTBearer] from a token endpoint with an assertion as the grant (KIP-1139, RFC 7523 §2.1);
//   - [File] from a file that something else keeps fresh, such as a projected token of Kubernetes;
//   - [Unsecured] makes one that is not signed, for tests.
//
// Any other way is a Retriever of the program's own, or a [sasl.TokenFunc] in place of the whole Login.
package oauthbearer
