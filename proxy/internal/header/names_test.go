package header

import (
	"net/http"
	"strings"
	"testing"
)

// spellings returns names that have the CGI name of a header.
func spellings(name string) []string {
	return []string{name, strings.ToLower(name), strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(strings.ToLower(name), "-", "."), CGI(name)}
}

// TestNames_EverySpelling: no spelling of a header that is not forwarded passes, and of the others that must be exact only
// the canonical one.
func TestNames_EverySpelling(t *testing.T) {
	names := Managed("X-Webauth-User", "1-User", "_User")
	none := append([]string{"X-Webauth-User", "1-User", "_User", "Proxy", Secret}, HopByHop...)
	for _, list := range [][]string{overrideHeaders, mountHeaders, clientHeaders, {"X-Forwarded-"}} {
		for _, name := range list {
			if strings.HasSuffix(name, "-") {
				none = append(none, name+"A", name+strings.Repeat("a", MaxNameBytes))
			}
			none = append(none, name)
		}
	}
	for _, name := range none {
		for _, spelling := range spellings(name) {
			if names.Passes(spelling) {
				t.Errorf("%s passes", spelling)
			}
		}
	}
	for _, name := range exact {
		for _, spelling := range spellings(name) {
			if names.Passes(spelling) != (spelling == name) {
				t.Errorf("%s passes: %t", spelling, names.Passes(spelling))
			}
		}
	}
	for _, name := range []string{"", "Accept", "accept", "Accept-Language", "Sec-Fetch-Mode", "If-None-Match", "X-Requested-With", "X", "2-User", strings.Repeat("X", 2*MaxNameBytes)} {
		if !names.Passes(name) {
			t.Errorf("%q does not pass", name)
		}
	}
}

// TestResponseNames_EverySpelling: what no upstream may send to clients is removed in every spelling, what concerns one
// connection in that of net/http, and all else stays.
func TestResponseNames_EverySpelling(t *testing.T) {
	names := Stripped("X-My-User")
	gone := append([]string{"X-My-User", "Clear-Site-Data", "X-Forwarded-User", "X-Auth-Request-Email", "X-Authentik-Username", "X-Sallyport-Assertion"}, identityNames...)
	others := http.Header{"Content-Type": {"text/html"}, "Content-Length": {"1"}, "Date": {"x"}, "Vary": {"x"}, "X-Frame-Options": {"DENY"}, "Set-Cookie": {"a=b"}, "Refresh": {"1"}, "": {"x"}}
	for _, switched := range []bool{false, true} {
		h := others.Clone()
		for _, name := range gone {
			for _, spelling := range spellings(name) {
				h[spelling] = []string{"x"}
			}
		}
		for _, name := range HopByHop {
			h[name] = []string{"x"}
		}
		h["Connection"], h["X-Option"] = []string{"close, x-option"}, []string{"x"}
		want := len(others)
		if names.StripIdentities(h); switched {
			want += len(HopByHop) + len([]string{"X-Option"})
		} else {
			names.Strip(h)
		}
		for name := range others {
			if h[name] == nil {
				t.Errorf("%q is removed", name)
			}
		}
		if len(h) != want {
			t.Errorf("switched %t: %v is left", switched, h)
		}
	}
}
