package oauthbearer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/network/sasl"
)

// Unsecured makes tokens that nobody has signed, so that anybody could have made them: Java's
// OAuthBearerUnsecuredLoginCallbackHandler. They are for tests, with brokers that take them. It is used as
// a pointer.
type Unsecured struct {
	// Claims are what the token says, besides exp and iat. One is to be the subject: {"sub": "alice"}.
	Claims map[string]any
	// Lifetime is how long a token is good. If zero, an hour.
	Lifetime time.Duration
}

// Retrieve makes a token. It does not block.
func (u *Unsecured) Retrieve(context.Context) (sasl.Secret, error) {
	payload := maps.Clone(u.Claims)
	if payload == nil {
		payload = map[string]any{}
	}
	for _, name := range []string{"exp", "iat"} {
		if _, given := payload[name]; given {
			return sasl.Secret{}, fmt.Errorf("the claim %s of an unsecured token cannot be given: it is made of the time", name)
		}
	}
	now := float64(time.Now().UnixMilli()) / 1000
	payload["iat"], payload["exp"] = now, now+orDefault(u.Lifetime, time.Hour).Seconds()
	header, err := encodePart(map[string]any{"alg": "none"})
	if err != nil {
		return sasl.Secret{}, err
	}
	body, err := encodePart(payload)
	if err != nil {
		return sasl.Secret{}, err
	}
	return sasl.NewSecret(header + "." + body + "."), nil
}

// encodePart writes a header or payload. Its members come in the order of their names.
func encodePart(part map[string]any) (string, error) {
	data, err := json.Marshal(part)
	if err != nil {
		return "", errors.New("a claim or header cannot be written as JSON: " + foreign.Quote(fmt.Sprint(slices.Sorted(maps.Keys(part)))))
	}
	return base64.RawURLEncoding.EncodeToString(data), nil
}
