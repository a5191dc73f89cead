package keystore

import (
	"os"
	"testing"

	"github.com/quill-kafka/quill/network/sasl"
)

func seed(f *testing.F) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() && e.Name() != "make.sh" {
			f.Add(sample(f, e.Name()))
		}
	}
}

// Every file is read or refused: no panic, and no fault but an Error.
func fuzzStore(f *testing.F, typ string) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, keys := range []bool{true, false} {
			w := &watched{store: &Store{Type: typ, Password: changeit, KeyPassword: changeit}, properties: ownProperties, keys: keys}
			if err := w.use(data); err != nil {
				requireFault(t, err)
			}
		}
		if c, err := decodeJKS(data, sasl.Secret{}, changeit); err == nil {
			_, _ = c.certificates()
			_, _ = c.anchors()
		}
	})
}

func FuzzPEM(f *testing.F) { fuzzStore(f, "PEM") }

func FuzzBinaryStore(f *testing.F) { fuzzStore(f, "JKS") }
