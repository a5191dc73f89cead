package quill

import (
	"context"
	"log/slog"
	"slices"
)

// defaultLog is where warnings and errors go without a Config.Logger: to what slog.Default is at that
// moment. A loss that nobody looked for should be seen.
type defaultLog struct {
	with []func(slog.Handler) slog.Handler // attributes and groups, in order
}

func (d defaultLog) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && slog.Default().Enabled(ctx, level)
}

func (d defaultLog) Handle(ctx context.Context, r slog.Record) error {
	h := slog.Default().Handler()
	for _, with := range d.with {
		h = with(h)
	}
	r.Message = "quill: " + r.Message
	return h.Handle(ctx, r)
}

func (d defaultLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return d.plus(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

func (d defaultLog) WithGroup(name string) slog.Handler {
	return d.plus(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (d defaultLog) plus(with func(slog.Handler) slog.Handler) slog.Handler {
	return defaultLog{append(slices.Clip(d.with), with)}
}
