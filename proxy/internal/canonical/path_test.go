package canonical

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// dotSegments returns spellings of a dot segment or of a separator that some server or framework understands.
func dotSegments(t testing.TB) (segments []string) {
	t.Helper()
	text, err := os.ReadFile("testdata/dot_segments.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		segment, err := strconv.Unquote(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		segments = append(segments, segment)
	}
	return segments
}

func TestPath_Strict(t *testing.T) {
	for raw, want := range map[string]string{
		"/":                          "/",
		"/a/b":                       "/a/b",
		"/a/":                        "/a/",
		"/A/b":                       "/A/b",
		"/-._~!$&'()*+,=:@":          "/-._~!$&'()*+,=:@",
		"/%41%62%7A%30":              "/Abz0",
		"/%7Euser":                   "/~user",
		"/%2D%5F":                    "/-_",
		"/a%40b.example":             "/a@b.example",
		"/a%3ab%2c%2b%3d%26%24%21":   "/a:b,+=&$!",
		"/a%20b":                     "/a%20b",
		"/a b":                       "/a%20b",
		`/"<>^` + "`{|}":             "/%22%3C%3E%5E%60%7B%7C%7D",
		"/%22%3c%3e":                 "/%22%3C%3E",
		"/[x]":                       "/%5Bx%5D",
		"/caf\u00e9":                 "/caf%C3%A9",
		"/caf%c3%a9":                 "/caf%C3%A9",
		"/%E2%82%AC":                 "/%E2%82%AC",
		"/...":                       "/...",
		"/.hidden":                   "/.hidden",
		"/a..":                       "/a..",
		"/..a":                       "/..a",
		"/.well-known/x":             "/.well-known/x",
		"/public../admin":            "/public../admin",
		"/api/v4/projects/1/-/raw":   "/api/v4/projects/1/-/raw",
		"/wiki/Caf%C3%A9_(disambig)": "/wiki/Caf%C3%A9_(disambig)",
		"/*":                         "/*",
	} {
		got, lenient, err := Path(raw)
		if err != nil || lenient || got != want {
			t.Errorf("%q: %q, lenient %v, %v; want %q", raw, got, lenient, err, want)
		}
	}
}

func TestPath_Lenient(t *testing.T) {
	for raw, want := range map[string]string{
		"/a%2fb":                                "/a%2Fb",
		"/a%2Fb%5cc":                            "/a%2Fb%5Cc",
		`/a\b`:                                  "/a%5Cb",
		"/a;v=1/b":                              "/a;v=1/b",
		"/a%3bv":                                "/a%3Bv",
		"/a%2Etxt":                              "/a.txt",
		"/100%25":                               "/100%25",
		"/a%2525":                               "/a%2525",
		"/a%23b%3fc":                            "/a%23b%3Fc",
		"/a//b":                                 "/a//b",
		"/a//":                                  "/a//",
		"/group%2Fproject/-/blob/main/a%2Eb":    "/group%2Fproject/-/blob/main/a.b",
		"/%2Esallyport/login":                   "/.sallyport/login",
		"/api/v4/projects/group%2Fproject/jobs": "/api/v4/projects/group%2Fproject/jobs",
	} {
		got, lenient, err := Path(raw)
		if err != nil || !lenient || got != want {
			t.Errorf("%q: %q, lenient %v, %v; want %q", raw, got, lenient, err, want)
		}
	}
}

func TestPath_RejectsDotSegments(t *testing.T) {
	for _, odd := range dotSegments(t) {
		for _, frame := range []string{"/public/%s/admin", "/public/%s", "/%s/admin", "/%s", "/a/%s/%[1]s/x"} {
			raw := fmt.Sprintf(frame, odd)
			got, lenient, err := Path(raw)
			if err == nil && !lenient {
				t.Errorf("%q is %q", raw, got)
			}
			if err == nil && hasStepUp(got) {
				t.Errorf("%q is %q on lenient routes", raw, got)
			}
		}
	}
	for _, raw := range []string{"", "a", "*", "admin/secret", "//", "//admin", "//evil.example/x", "/" + strings.Repeat("a", MaxPath), "http://x/", "?x"} {
		if got, _, err := Path(raw); err == nil {
			t.Errorf("%q is %q", raw, got)
		}
	}
}

// hasStepUp reports whether some server could find a dot segment in a path: it may decode the path up to four times, read
// backslashes as slashes, drop parameters or stop at a NUL. It shares no code with hasDotSegment.
func hasStepUp(p string) bool {
	for range 5 {
		for _, view := range []string{p, strings.ReplaceAll(p, `\`, "/")} {
			for segment := range strings.SplitSeq(view, "/") {
				bare, _, _ := strings.Cut(segment, ";")
				bare, _, _ = strings.Cut(bare, "\x00")
				if bare == ".." || bare == "." {
					return true
				}
			}
		}
		next, err := url.PathUnescape(p)
		if err != nil || next == p {
			return false
		}
		p = next
	}
	return false
}

// readings are the ways in which servers read a path. They must agree on a strict one.
var readings = map[string]func(string) (string, error){
	"decoded once": url.PathUnescape,
	"decoded twice": func(p string) (string, error) {
		once, err := url.PathUnescape(p)
		if err != nil {
			return "", err
		}
		return url.PathUnescape(once)
	},
	"cleaned after decoding": func(p string) (string, error) {
		once, err := url.PathUnescape(p)
		return cleanKeepingSlash(once), err
	},
	"cleaned before decoding": func(p string) (string, error) { return url.PathUnescape(cleanKeepingSlash(p)) },
	"without parameters": func(p string) (string, error) {
		var names []string
		for segment := range strings.SplitSeq(p, "/") {
			name, _, _ := strings.Cut(segment, ";")
			names = append(names, name)
		}
		return url.PathUnescape(strings.Join(names, "/"))
	},
	"backslashes for slashes": func(p string) (string, error) {
		once, err := url.PathUnescape(p)
		return cleanKeepingSlash(strings.ReplaceAll(once, `\`, "/")), err
	},
	"slashes merged": func(p string) (string, error) {
		for strings.Contains(p, "//") {
			p = strings.ReplaceAll(p, "//", "/")
		}
		return url.PathUnescape(p)
	},
	"up to a NUL": func(p string) (string, error) {
		once, err := url.PathUnescape(p)
		once, _, _ = strings.Cut(once, "\x00")
		return once, err
	},
	"by net/url": func(p string) (string, error) {
		u, err := url.ParseRequestURI(p)
		if err != nil {
			return "", err
		}
		return u.Path, nil
	},
	"as a reference": func(p string) (string, error) {
		base, _ := url.Parse("http://h/")
		u, err := base.Parse(p)
		if err != nil || u.RawQuery != "" || u.Fragment != "" || u.Host != "h" {
			return "", fmt.Errorf("not a path: %v %w", u, err)
		}
		return u.Path, nil
	},
}

func cleanKeepingSlash(p string) string {
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// checkPath checks what holds for every path that Path accepts.
func checkPath(t interface{ Errorf(string, ...any) }, raw string) {
	got, lenient, err := Path(raw)
	if err != nil {
		return
	}
	again, stillLenient, err := Path(got)
	if err != nil || again != got || stillLenient && !lenient {
		t.Errorf("%q is %q, and that is %q (lenient %v, %v)", raw, got, again, stillLenient, err)
	}
	if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || hasStepUp(got) {
		t.Errorf("%q is %q", raw, got)
	}
	for i := range len(got) {
		if c := got[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`\"<>^{}|#?[]`+"`", c) >= 0 {
			t.Errorf("%q is %q with a byte %#x", raw, got, c)
		}
	}
	if want, err := url.PathUnescape(raw); err != nil || !lenient && decoded(got) != want {
		t.Errorf("%q means %q, %q means %q (%v)", raw, want, got, decoded(got), err)
	}
	if lenient {
		return
	}
	if back, _, err := Path(Decoded(got)); err != nil || back != got || Decoded(got) != decoded(got) {
		t.Errorf("%q is %q, read as %q, and that is %q (%v)", raw, got, Decoded(got), back, err)
	}
	for name, read := range readings {
		if seen, err := read(got); err != nil || seen != decoded(got) {
			t.Errorf("%q is %q, which is %q %s (%v)", raw, got, seen, name, err)
		}
	}
}

func decoded(p string) string {
	d, err := url.PathUnescape(p)
	if err != nil {
		return "\x00" + err.Error()
	}
	return d
}

func TestPath_ServersAgree(t *testing.T) {
	for _, odd := range dotSegments(t) {
		checkPath(t, "/public/"+odd+"/admin")
		checkPath(t, "/"+odd)
	}
	pieces := append([]string{"/", "a", "admin", "%41", "%20", "+", "é", "%C3%A9", "~", ":", "@", "(", "?", "#", "[", "|", "\\", ";x=1", "%3B", "//", "%252f"}, dotSegments(t)...)
	rapid.Check(t, func(t *rapid.T) {
		checkPath(t, "/"+strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 8).Draw(t, "pieces"), ""))
	})
	rapid.Check(t, func(t *rapid.T) { checkPath(t, "/"+rapid.String().Draw(t, "path")) })
	rapid.Check(t, func(t *rapid.T) { checkPath(t, "/"+string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))) })
}

func FuzzPath(f *testing.F) {
	for _, odd := range dotSegments(f) {
		f.Add("/public/" + odd + "/admin")
	}
	f.Add("/a;b=c/d%2Fe//f")
	f.Fuzz(func(t *testing.T, raw string) { checkPath(t, raw) })
}

func TestDecodedAndLenientReading(t *testing.T) {
	for _, c := range []struct{ path, readable, loosest string }{
		{"/", "/", "/"},
		{"/a/b", "/a/b", "/a/b"},
		{"/caf%C3%A9/a%20b", "/café/a b", "/café/a b"},
		{"/a%2Fb/", "/a%2Fb/", "/a/b/"},
		{"/a%5Cb", `/a\b`, "/a/b"},
		{"/a%252Fb", "/a%2Fb", "/a%2Fb"},
		{"/a;v=1/b", "/a;v=1/b", "/a/b"},
		{"/a%3Bv/b", "/a;v/b", "/a/b"},
		{"/a//b//", "/a//b//", "/a/b/"},
	} {
		if got := Decoded(c.path); got != c.readable {
			t.Errorf("%s is read %q, want %q", c.path, got, c.readable)
		}
		if got := LenientReading(c.path); got != c.loosest {
			t.Errorf("%s is read loosely %q, want %q", c.path, got, c.loosest)
		}
	}
}

func TestUnder_ComparesWholeSegments(t *testing.T) {
	for _, c := range []struct {
		path, root string
		want       bool
	}{
		{"/orders", "/orders", true}, {"/orders/", "/orders", true}, {"/orders/1", "/orders", true}, {"/", "/", true}, {"/x", "/", true},
		{"/ordersx", "/orders", false}, {"/order", "/orders", false}, {"/Orders", "/orders", false}, {"/orders%2F1", "/orders", false}, {"/", "/orders", false},
	} {
		if got := Under(c.path, c.root); got != c.want {
			t.Errorf("%s under %s: %v", c.path, c.root, got)
		}
	}
}

func TestPrefix(t *testing.T) {
	for text, want := range map[string]string{
		"": "/", "/": "/", "/a": "/a", "/a/": "/a", "/a/b/": "/a/b", "/%61": "/a", "/caf\u00e9": "/caf%C3%A9",
		"a": "", "/a?b": "", "/a#b": "", "/a/*": "", "/a//b": "", "/a%2Fb": "", "/../a": "", "/a;b": "",
	} {
		got, err := Prefix(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}
