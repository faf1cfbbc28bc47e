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

// dotSegments returns texts that some server or framework reads as a dot segment or a separator, or stumbles over.
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
	for _, segment := range dotSegments(t) {
		for _, format := range []string{"/public/%s/admin", "/public/%s", "/%s/admin", "/%s", "/a/%s/%[1]s/x"} {
			raw := fmt.Sprintf(format, segment)
			got, lenient, err := Path(raw)
			if err == nil && !lenient {
				t.Errorf("%q is %q", raw, got)
			}
			if err == nil && findsDotSegment(got) {
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

// findsDotSegment reports whether some server could find a dot segment in a path: it may decode the path up to four times, read
// backslashes as slashes, drop parameters or stop at a NUL. It shares no code with hasDotSegment.
func findsDotSegment(p string) bool {
	for range 5 {
		for _, view := range []string{p, strings.ReplaceAll(p, `\`, "/")} {
			for segment := range strings.SplitSeq(view, "/") {
				name, _, _ := strings.Cut(segment, ";")
				name, _, _ = strings.Cut(name, "\x00")
				if name == ".." || name == "." {
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

// readings are the ways in which servers read a path, by name. All must return the same for a strict path.
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

// checkPath checks the properties of every path that Path accepts: its spelling is stable, it has no dot segment and no
// byte that must be encoded, and, if it is strict, all readings agree.
func checkPath(t interface{ Errorf(string, ...any) }, raw string) {
	got, lenient, err := Path(raw)
	if err != nil {
		return
	}
	repeated, stillLenient, err := Path(got)
	if err != nil || repeated != got || stillLenient && !lenient {
		t.Errorf("Path(%q) is %q, but Path of that is %q (lenient %v, %v)", raw, got, repeated, stillLenient, err)
	}
	if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || findsDotSegment(got) {
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
		t.Errorf("Path(%q) is %q, decoded %q, but Path of that is %q (%v)", raw, got, Decoded(got), back, err)
	}
	for name, read := range readings {
		if seen, err := read(got); err != nil || seen != decoded(got) {
			t.Errorf("Path(%q) is %q, but %s it is %q (%v)", raw, got, name, seen, err)
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
	for _, segment := range dotSegments(t) {
		checkPath(t, "/public/"+segment+"/admin")
		checkPath(t, "/"+segment)
	}
	pieces := append([]string{"/", "a", "admin", "%41", "%20", "+", "é", "%C3%A9", "~", ":", "@", "(", "?", "#", "[", "|", "\\", ";x=1", "%3B", "//", "%252f"}, dotSegments(t)...)
	rapid.Check(t, func(t *rapid.T) {
		checkPath(t, "/"+strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 8).Draw(t, "pieces"), ""))
	})
	rapid.Check(t, func(t *rapid.T) { checkPath(t, "/"+rapid.String().Draw(t, "path")) })
	rapid.Check(t, func(t *rapid.T) { checkPath(t, "/"+string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))) })
}

func FuzzPath(f *testing.F) {
	for _, segment := range dotSegments(f) {
		f.Add("/public/" + segment + "/admin")
	}
	f.Add("/a;b=c/d%2Fe//f")
	f.Fuzz(func(t *testing.T, raw string) { checkPath(t, raw) })
}

func TestDecoded(t *testing.T) {
	for path, want := range map[string]string{
		"/": "/", "/a/b": "/a/b", "/caf%C3%A9/a%20b": "/café/a b", "/a%2Fb/": "/a%2Fb/", "/a%5Cb": `/a\b`, "/a%252Fb": "/a%2Fb",
		"/a;v=1/b": "/a;v=1/b", "/a%3Bv/b": "/a;v/b", "/a//b//": "/a//b//",
	} {
		if got := Decoded(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}

func TestUnder_ComparesWholeSegments(t *testing.T) {
	for _, c := range []struct {
		path, prefix string
		want         bool
	}{
		{"/orders", "/orders", true}, {"/orders/", "/orders", true}, {"/orders/1", "/orders", true}, {"/", "/", true}, {"/x", "/", true},
		{"/ordersx", "/orders", false}, {"/order", "/orders", false}, {"/Orders", "/orders", false}, {"/orders%2F1", "/orders", false}, {"/", "/orders", false},
	} {
		if got := Under(c.path, c.prefix); got != c.want {
			t.Errorf("%s under %s: %v", c.path, c.prefix, got)
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
