package canonical_test

import (
	"testing"

	"sallyport/proxy/internal/canonical"
)

func TestSplitURL(t *testing.T) {
	for text, want := range map[string][2]string{
		"https://app.example.com/a?b#c": {"app.example.com", "/a?b"}, "app.example.com": {"app.example.com", "/"},
		"app.example.com:8443?a=/b": {"app.example.com:8443", "/?a=/b"}, "": {"", "/"}, "#x": {"", "/"},
	} {
		if host, target := canonical.SplitURL(text); host != want[0] || target != want[1] {
			t.Errorf("%q is split into %q and %q", text, host, target)
		}
	}
}
