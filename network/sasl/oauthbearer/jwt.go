package oauthbearer

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/quill-kafka/quill/internal/foreign"
)

// claims are what a client looks at in a token. It cannot check the signature: that is the brokers' duty.
type claims struct {
	subject       string
	issued, start time.Time // iat and nbf; zero if not there
	expires       time.Time
}

var errNoJWT = errors.New("the token is no JWT of three parts (header.payload.signature)")

// readJWT reads the claims that Java's ClientJwtValidator demands: exp and the subject.
// A token without a signature is refused unless it is the program's own.
func readJWT(token, subjectClaim, scopeClaim string, unsecured bool) (claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" && !unsecured {
		return claims{}, errNoJWT
	}
	payload, err := readPart(parts[1])
	if err != nil {
		return claims{}, fmt.Errorf("the token's payload %w", err)
	}
	var c claims
	if c.subject, err = text(payload, subjectClaim); err != nil {
		return claims{}, err
	}
	if err := checkScope(payload[scopeClaim], scopeClaim); err != nil {
		return claims{}, err
	}
	for _, claim := range []struct {
		name string
		at   *time.Time
	}{{"exp", &c.expires}, {"iat", &c.issued}, {"nbf", &c.start}} {
		if *claim.at, err = instant(payload, claim.name); err != nil {
			return claims{}, err
		}
	}
	if c.expires.IsZero() {
		return claims{}, errors.New("the token has no claim exp: when it ends is not known")
	}
	return c, nil
}

// readPart decodes a header or payload: base64url, with or without padding, of a JSON object.
func readPart(part string) (map[string]any, error) {
	data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(part, "="))
	if err != nil {
		return nil, errors.New("is not base64url") // the decoder's error may show bytes of it
	}
	var object map[string]any
	if json.Unmarshal(data, &object) != nil || object == nil {
		return nil, errors.New("is not a JSON object")
	}
	return object, nil
}

func text(payload map[string]any, claim string) (string, error) {
	s, ok := payload[claim].(string)
	if s = strings.TrimSpace(s); !ok || s == "" {
		return "", fmt.Errorf("the token has no claim %s that is a text; another claim may be named by sasl.oauthbearer.sub.claim.name", foreign.Quote(claim))
	}
	return s, nil
}

// checkScope refuses what Java refuses: an empty scope, and one that is there twice.
func checkScope(scope any, claim string) error {
	list, _ := scope.([]any)
	if s, ok := scope.(string); ok {
		list = []any{s}
	}
	seen := map[string]bool{}
	for _, one := range list {
		s, _ := one.(string)
		if s = strings.TrimSpace(s); s == "" || seen[s] {
			return fmt.Errorf("the token's claim %s has a scope that is empty, no text, or there twice", foreign.Quote(claim))
		}
		seen[s] = true
	}
	return nil
}

// maxInstant is in the year 9999: later ones overflow what computes with them.
const maxInstant = 253402300799

// instant reads a number of seconds since 1970, whole or not. A claim that is not there is the zero time.
func instant(payload map[string]any, claim string) (time.Time, error) {
	switch v := payload[claim].(type) {
	case nil:
		return time.Time{}, nil
	case float64:
		if v >= 0 {
			return time.UnixMilli(int64(min(v, maxInstant) * 1000)), nil
		}
	}
	return time.Time{}, fmt.Errorf("the token's claim %s is no number of seconds since 1970", claim)
}
