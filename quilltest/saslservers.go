package quilltest

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// plainServer is PLAIN. Java: PlainSaslServer, whose texts it has.
type plainServer struct{ cfg *SASL }

func (s plainServer) next(message []byte) ([]byte, *identity, error) {
	fields := strings.Split(string(message), "\x00")
	if len(fields) != 3 {
		return nil, nil, fmt.Errorf("PLAIN: %d fields", len(fields))
	}
	authzid, username, password := fields[0], fields[1], fields[2]
	known, ok := s.cfg.Users[username]
	switch {
	case username == "":
		return nil, nil, toldError("Authentication failed: username not specified")
	case password == "":
		return nil, nil, toldError("Authentication failed: password not specified")
	case !ok || known != password:
		return nil, nil, toldError("Authentication failed: Invalid username or password")
	case authzid != "" && authzid != username:
		return nil, nil, errOtherAuthorizationID
	}
	return []byte{}, &identity{principal: username}, nil
}

const errOtherAuthorizationID = toldError("Authentication failed: Client requested an authorization id that is different from username")

// oauthBearerServer is OAUTHBEARER. Java: OAuthBearerSaslServer.
type oauthBearerServer struct {
	check   func(token string, extensions map[string]string) (string, time.Time, error)
	refused string // what the client has been answered and must acknowledge
}

var (
	bearerMessage = regexp.MustCompile(`^n,(?:a=((?:[^=,\x00]|=2C|=3D)+))?,\x01((?:[A-Za-z]+=[\x21-\x7E \t\r\n]+\x01)*)\x01$`)
	bearerToken   = regexp.MustCompile(`^(?i:bearer) +([-_~+/.a-zA-Z0-9]+=*)$`)
)

func (s *oauthBearerServer) next(message []byte) ([]byte, *identity, error) {
	if s.refused != "" && bytes.Equal(message, []byte{1}) {
		return nil, nil, toldError(s.refused)
	}
	s.refused = ""
	authzid, token, extensions, err := parseBearer(message)
	if err != nil {
		return nil, nil, err
	}
	if s.check == nil {
		return nil, nil, errors.New("OAUTHBEARER: SASL.CheckToken is not set")
	}
	principal, expiresAt, err := s.check(token, extensions)
	if err != nil {
		s.refused = tokenAnswer(err)
		return []byte(s.refused), nil, nil
	}
	if authzid != "" && authzid != principal {
		return nil, nil, toldError(fmt.Sprintf("Authentication failed: Client requested an authorization id (%s) that is different from the token's principal name (%s)", authzid, principal))
	}
	return []byte{}, &identity{principal, expiresAt}, nil
}

// parseBearer reads "n,,^Aauth=Bearer TOKEN^Aname=value^A^A".
func parseBearer(message []byte) (authzid, token string, extensions map[string]string, err error) {
	parts := bearerMessage.FindSubmatch(message)
	if parts == nil {
		return "", "", nil, errors.New("OAUTHBEARER: invalid first message")
	}
	extensions = make(map[string]string)
	for pair := range strings.SplitSeq(strings.TrimSuffix(string(parts[2]), "\x01"), "\x01") {
		name, value, _ := strings.Cut(pair, "=")
		extensions[name] = value
	}
	auth := bearerToken.FindStringSubmatch(extensions["auth"])
	if auth == nil {
		return "", "", nil, errors.New("OAUTHBEARER: no bearer token")
	}
	delete(extensions, "auth")
	return string(parts[1]), auth[1], extensions, nil
}

// tokenAnswer is the JSON of Java's jsonErrorResponse.
func tokenAnswer(err error) string {
	e, ok := errors.AsType[*TokenError](err)
	if !ok {
		e = &TokenError{Status: "invalid_token"}
	}
	text := fmt.Sprintf(`{"status":%q`, e.Status)
	if e.Scope != "" {
		text += fmt.Sprintf(`, "scope":%q`, e.Scope)
	}
	if e.OpenIDConfiguration != "" {
		text += fmt.Sprintf(`, "openid-configuration":%q`, e.OpenIDConfiguration)
	}
	return text + "}"
}
