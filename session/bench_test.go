package session_test

import (
	"fmt"
	"testing"

	"sallyport/session"
)

// BenchmarkRead is what every request pays to learn who is signed in.
func BenchmarkRead(b *testing.B) {
	h := open(b, session.Defaults(), "")
	var cookies []string
	for i := range 64 {
		cookies = append(cookies, h.grant(h.begin(fmt.Sprintf("u%d", i)).ID, app))
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

// BenchmarkReadStranger is what a made-up cookie costs.
func BenchmarkReadStranger(b *testing.B) {
	h := open(b, session.Defaults(), "")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Read(token, app); err == nil {
			b.Fatal("read")
		}
	}
}
