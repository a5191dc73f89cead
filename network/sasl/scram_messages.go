package sasl

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// mostScramBytes is the longest message of a node that is read. Kafka's have some hundred bytes.
const mostScramBytes = 8 << 10

// serverFirst is the node's first message.
type serverFirst struct {
	nonce      string
	salt       []byte
	iterations int
}

// parseServerFirst reads "r=nonce,s=salt,i=iterations" and what may follow. The nonce has to begin with the client's own.
func parseServerFirst(message []byte, own string) (serverFirst, error) {
	fields, err := split(message)
	if err != nil {
		return serverFirst{}, err
	}
	if len(fields) < 3 {
		return serverFirst{}, fmt.Errorf(`the node's first message is not "r=…,s=…,i=…": %s`, cite(message))
	}
	var values [3]string
	for i, name := range []string{"r=", "s=", "i="} {
		value, found := strings.CutPrefix(fields[i], name)
		if strings.HasPrefix(fields[i], "m=") {
			return serverFirst{}, errors.New("the node wants an extension of SCRAM that there is no agreement on (m=)") // RFC 5802 §5.1
		}
		if !found {
			return serverFirst{}, fmt.Errorf("the node's first message has no %s at its place: %s", name, cite(message))
		}
		values[i] = value
	}
	s := serverFirst{nonce: values[0]}
	if rest, found := strings.CutPrefix(s.nonce, own); !found || rest == "" {
		return serverFirst{}, errors.New("the node's nonce does not begin with the client's, or adds nothing to it: this is an old or a forged answer")
	}
	if s.salt, err = decode(values[1]); err != nil || len(s.salt) == 0 {
		return serverFirst{}, fmt.Errorf("the node's salt is empty or not base64: %s", cite([]byte(values[1])))
	}
	if s.iterations, err = parseIterations(values[2]); err != nil {
		return serverFirst{}, err
	}
	return s, nil
}

// parseIterations takes decimal digits alone, the first of which is not zero.
func parseIterations(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || text[0] == '0' || text[0] == '+' {
		return 0, fmt.Errorf("the node's number of iterations is not a number from 1 to 2147483647: %s", cite([]byte(text)))
	}
	return int(n), nil
}

// parseServerFinal reads "v=signature" or "e=error", and what may follow.
func parseServerFinal(message []byte) (signature []byte, err error) {
	fields, err := split(message)
	if err != nil {
		return nil, err
	}
	if reason, found := strings.CutPrefix(fields[0], "e="); found {
		return nil, fmt.Errorf("the node refuses the credentials: %s", cite([]byte(reason)))
	}
	text, found := strings.CutPrefix(fields[0], "v=")
	if !found {
		return nil, fmt.Errorf(`the node's last message has no signature ("v=…"), so it can't be believed: %s`, cite(message))
	}
	if signature, err = decode(text); err != nil {
		return nil, fmt.Errorf("the node's signature is not base64: %s", cite([]byte(text)))
	}
	return signature, nil
}

// split cuts a message into its attributes, each of which is a letter, "=" and a value.
func split(message []byte) ([]string, error) {
	if len(message) > mostScramBytes {
		return nil, fmt.Errorf("the node's message has %d bytes, at most %d are allowed", len(message), mostScramBytes)
	}
	for _, b := range message {
		if b < ' ' || b > '~' {
			return nil, fmt.Errorf("the node's message has characters other than printable ASCII: %s", cite(message))
		}
	}
	fields := strings.Split(string(message), ",")
	for _, field := range fields {
		if len(field) < 2 || !isLetter(rune(field[0])) || field[1] != '=' {
			return nil, fmt.Errorf(`the node's message is not a list of attributes "a=…": %s`, cite(message))
		}
	}
	return fields, nil
}

// decode reads base64 with its padding and nothing else. Go's decoder would skip line breaks; split has refused them.
func decode(text string) ([]byte, error) { return base64.StdEncoding.Strict().DecodeString(text) }
