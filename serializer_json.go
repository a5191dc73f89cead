package quill

import (
	"encoding/json"
	"sync"
)

// jsonWriter is an encoder that appends to a slice.
type jsonWriter struct {
	dst     []byte
	encoder *json.Encoder
}

func (w *jsonWriter) Write(p []byte) (int, error) {
	w.dst = append(w.dst, p...)
	return len(p), nil
}

var jsonWriters = sync.Pool{New: func() any {
	w := new(jsonWriter)
	w.encoder = json.NewEncoder(w)
	return w
}}

// appendJSON is json.Marshal with memory of the caller's.
func appendJSON(dst []byte, v any) ([]byte, error) {
	w := jsonWriters.Get().(*jsonWriter)
	w.dst = dst
	err := w.encoder.Encode(v)
	dst, w.dst = w.dst, nil
	jsonWriters.Put(w) // not after a panic: who knows what state the encoder is in
	if err != nil {
		return nil, err
	}
	return dst[:len(dst)-1], nil // without Encode's newline
}
