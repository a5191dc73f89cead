module github.com/quill-kafka/quill/integration

go 1.26.0

require (
	github.com/quill-kafka/quill v0.0.0
	github.com/quill-kafka/quill/plugin/kerberos v0.0.0
	github.com/quill-kafka/quill/plugin/keystore v0.0.0
	github.com/stretchr/testify v1.12.1
	github.com/twmb/franz-go v1.22.2
	github.com/twmb/franz-go/pkg/kmsg v1.15.0
)

require (
	github.com/hashicorp/go-uuid v1.0.3 // indirect
	github.com/jcmturner/aescts/v2 v2.0.0 // indirect
	github.com/jcmturner/dnsutils/v2 v2.0.0 // indirect
	github.com/jcmturner/gofork v1.7.6 // indirect
	github.com/jcmturner/gokrb5/v8 v8.4.4 // indirect
	github.com/jcmturner/rpc/v2 v2.0.3 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/pierrec/lz4/v4 v4.1.33 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/crypto v0.59.0 // indirect
	golang.org/x/net v0.62.0 // indirect
	software.sslmate.com/src/go-pkcs12 v0.7.4 // indirect
)

replace github.com/quill-kafka/quill => ../

replace github.com/quill-kafka/quill/plugin/kerberos => ../plugin/kerberos

replace github.com/quill-kafka/quill/plugin/keystore => ../plugin/keystore
