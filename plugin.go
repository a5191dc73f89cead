package quill

import (
	"io"
	"log/slog"
	"runtime/debug"
)

// ClientInfo describes a producer to its plug-ins.
type ClientInfo struct {
	ClientID string       // the client id in use, also if it was generated
	Logger   *slog.Logger // never nil

	// Properties are what ParseProperties or LoadProperties was given, word for word, with those that are
	// no config of Kafka's: a plug-in's own settings. Do not change them. Nil if the Config was
	// made otherwise. Kafka: what Configurable.configure gets.
	Properties map[string]string
}

// Configurer is the optional part of an Interceptor or a Partitioner that needs to know its
// producer. Configure is called once by New, before anything else; its error becomes New's.
// Serializers have a SerializerConfigurer.
type Configurer interface {
	Configure(info ClientInfo) error
}

// An interceptor, partitioner or serializer may also be an io.Closer. It is then closed once: when
// its producer closes, or when New fails after it was configured.

// configurePlugin runs the plug-in's Configure, if it has one. A panic becomes an error.
func configurePlugin(plugin any, info ClientInfo) error {
	c, ok := plugin.(Configurer)
	if !ok {
		return nil
	}
	return guard(func() error { return c.Configure(info) })
}

// closePlugin runs the plug-in's Close, if it has one. A panic becomes an error.
func closePlugin(plugin any) error {
	c, ok := plugin.(io.Closer)
	if !ok {
		return nil
	}
	return guard(c.Close)
}

// guard runs code that is not ours: a panic becomes its error.
func guard(f func() error) (err error) {
	defer recovered(&err)
	return f()
}

// recovered turns a panic into *err. It is to be deferred directly.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Value: v, Stack: debug.Stack()}
	}
}
