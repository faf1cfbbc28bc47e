package session_test

import (
	"fmt"
	"log/slog"
	"testing"

	"sallyport/session"
)

// BenchmarkRead measures how long a request takes to find out who is signed in.
func BenchmarkRead(b *testing.B) {
	h := open(b, session.Defaults(), "")
	var cookies []string
	for i := range 64 {
		cookies = append(cookies, h.newToken(h.begin(fmt.Sprintf("u%d", i)).ID, app))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := h.Read(cookies[i&63], app); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkReadUnknown measures the same for an invented cookie.
func BenchmarkReadUnknown(b *testing.B) {
	h := open(b, session.Defaults(), "")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Read(token, app); err == nil {
			b.Fatal("Read returned a session")
		}
	}
}

// BenchmarkOpen measures what a start does with the sessions of many users, each with a token.
func BenchmarkOpen(b *testing.B) {
	h := open(b, session.Defaults(), "")
	const many = 2000
	for i := range many {
		h.newToken(h.begin(fmt.Sprintf("%032d", i)).ID, app)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := session.Open(b.Context(), h.store, session.Defaults(), slog.New(slog.DiscardHandler)); err != nil {
			b.Fatal(err)
		}
	}
}
