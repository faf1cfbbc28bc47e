package main

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"

	"sallyport/config"
)

// newLogger returns a logger that writes to out. Its handler is a [*logHandler].
func newLogger(out io.Writer, l config.Log) *slog.Logger {
	s := &logSettings{level: new(slog.LevelVar)}
	o := &slog.HandlerOptions{Level: s.level}
	s.use(l)
	return slog.New(&logHandler{s, slog.NewJSONHandler(out, o), slog.NewTextHandler(out, o)})
}

// logSettings are how all loggers that came from one write. They may change at any time.
type logSettings struct {
	level *slog.LevelVar
	text  atomic.Bool // else JSON
}

// use puts settings in force. Their texts were checked when the file was loaded.
func (s *logSettings) use(l config.Log) {
	var level slog.Level // the zero value is info
	_ = level.UnmarshalText([]byte(l.Level))
	s.level.Set(level)
	s.text.Store(l.Format == "text")
}

// logHandler writes in the format that is in force. Each record is one write to the output, whatever its format.
type logHandler struct {
	settings   *logSettings
	json, text slog.Handler
}

// Enabled implements [slog.Handler].
func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.json.Enabled(ctx, level)
}

// Handle implements [slog.Handler].
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.settings.text.Load() {
		return h.text.Handle(ctx, r)
	}
	return h.json.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.settings, h.json.WithAttrs(attrs), h.text.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.settings, h.json.WithGroup(name), h.text.WithGroup(name)}
}
