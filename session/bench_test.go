package session_test

import (
	"fmt"
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
