package proxy

import (
	"bufio"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"golang.org/x/text/unicode/norm"

	"sallyport/policy"
	"sallyport/proxy/internal/canonical"
)

// This file models how frameworks find the handler of a path. It shares no code with package canonical, which says what
// the proxy takes into account.

// A framework applies some of these steps, in an order of its own, and more than once where several servers stand behind
// each other.
var frameworkSteps = map[string]func(string) string{
	"decode":              percentDecode,
	"decode all but /":    func(path string) string { return protected(path, `(?i)%2f`, percentDecode) },
	"decode unreserved":   func(path string) string { return protected(path, `(?i)%(2[0-9a-c]|2f|3[a-f])`, percentDecode) },
	"decode %u":           decodeUnicodeEscapes,
	"decode overlong":     decodeOverlong,
	"backslash":           replacing(`\\`, "/"),
	"encoded backslash":   replacing(`(?i)%5c|\\`, "/"),
	"merge slashes":       replacing(`/{2,}`, "/"),
	"parameters":          replacing(`;[^/]*`, ""),
	"last parameters":     replacing(`;[^/]*$`, ""),
	"cut at ;":            replacing(`;.*`, ""),
	"cut at ?":            replacing(`\?.*`, ""),
	"cut at #":            replacing(`#.*`, ""),
	"cut at NUL":          replacing("\x00.*", ""),
	"drop host":           replacing(`^//[^/]*`, ""),
	"dot segments":        resolveDots,
	"dots with backslash": func(path string) string { return resolveDots(strings.ReplaceAll(path, `\`, "/")) },
	"dots with params":    func(path string) string { return resolveDots(replacing(`(/\.\.?);[^/]*`, "$1")(path)) },
	"controls":            replacing("[\x00-\x1f\x7f]", ""),
}

// foldingSteps are further ones of frameworks that ignore case, on systems that do.
var foldingSteps = map[string]func(string) string{
	"lower case":    strings.ToLower,
	"upper case":    strings.ToUpper,
	"compatibility": norm.NFKC.String,
	"marks":         replacing(`[\p{Mn}\p{Me}]`, ""),
	"one slash":     replacing("\u2215", "/"),
	"fraction":      replacing("\u2044", "/"),
	"decompose":     func(path string) string { return replacing(`\p{Mn}`, "")(norm.NFD.String(path)) },
	"blanks":        replacing(`[ .]+(/|$)`, "$1"),
	"Unicode space": replacing(`\p{Z}+(/|$)`, "$1"),
	"streams":       replacing(`(?i):(:\$data|\$i30:\$index_allocation)(/|$)`, "$2"),
	"best fit":      strings.NewReplacer("ａ", "a", "ｄ", "d", "ｍ", "m", "ｉ", "i", "ｎ", "n", "／", "/", "＼", `\`, "．", ".", "；", ";", "％", "%", "∕", "/", "‥", "..").Replace,
	"invisible":     replacing(`\p{Cf}`, ""),
}

func replacing(pattern, by string) func(string) string {
	compiled := regexp.MustCompile(`(?s)` + pattern)
	return func(path string) string { return compiled.ReplaceAllString(path, by) }
}

var percentEncoded = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

func percentDecode(path string) string {
	return percentEncoded.ReplaceAllStringFunc(path, func(encoded string) string {
		c, _ := strconv.ParseUint(encoded[1:], 16, 8)
		return string([]byte{byte(c)})
	})
}

// protected applies step to all of path but what pattern matches.
func protected(path, pattern string, step func(string) string) string {
	var out strings.Builder
	for {
		at := regexp.MustCompile(pattern).FindStringIndex(path)
		if at == nil {
			return out.String() + step(path)
		}
		out.WriteString(step(path[:at[0]]) + path[at[0]:at[1]])
		path = path[at[1]:]
	}
}

var unicodeEscape = regexp.MustCompile(`(?i)%u[0-9a-f]{4}`)

func decodeUnicodeEscapes(path string) string {
	return unicodeEscape.ReplaceAllStringFunc(path, func(encoded string) string {
		r, _ := strconv.ParseUint(encoded[2:], 16, 16)
		return string(rune(r))
	})
}

// decodeOverlong decodes what old UTF-8 decoders accept: a character in more bytes than it needs.
func decodeOverlong(path string) string {
	path = strings.NewReplacer("%c0%af", "/", "%c0%ae", ".", "%C0%AF", "/", "%C0%AE", ".", "%e0%80%af", "/").Replace(path)
	return strings.NewReplacer("\xc0\xaf", "/", "\xc0\xae", ".", "\xe0\x80\xaf", "/").Replace(path)
}

// resolveDots resolves dot segments (RFC 3986 §5.2.4).
func resolveDots(path string) string {
	var rest []string
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		switch last := i == len(segments)-1; {
		case segment == "..":
			rest = rest[:max(len(rest)-1, min(1, len(rest)))]
			if last {
				rest = append(rest, "")
			}
		case segment == "." && last:
			rest = append(rest, "")
		case segment != ".":
			rest = append(rest, segment)
		}
	}
	return strings.Join(rest, "/")
}

// pathParts are what the paths of hostile requests consist of.
var pathParts = []string{
	"admin", "docs", "secret", "a", "pub", "/", "/", "/", "/", "//", "%2f", "%2F", "%252f", "%25252F", "%5c", `\`, "%255C", ";", ";", ";x=1", "%3b", "%3B", "%253b", ";jsessionid=1",
	"%3f", "%3F", "%253f", "%23", "%2523", "?", ".", "..", "%2e", "%2e%2e", "..;", "..;/", "..%2f", "%252e%252e", "./", "../", ".%00", "%00", "%20", "%09", "+", "%", "%25", "%2525",
	"%61dmin", "%2561dmin", "%25%36%31dmin", "%73ecret", "%u002f", "%25u002f", "%25u002e", "%c0%af", "%25c0%25af", "%c0%ae", "%e0%80%af", ":", "@", ",", "~1", "*", "//x/",
	"ADMIN", "Admin", "aDmIn", "SECRET", "Docs", "admin%20", "admin.", "secret.%20", "%EF%BD%81dmin", "adm%C4%B1n", "secret%C2%A0", "sec%E2%80%8Dret", "sec%CC%81ret", "%C5%BFecret", "docs%E3%80%80",
	"%EF%BC%8F", "%E2%88%95", "%EF%BC%BC", "%EF%BC%8E%EF%BC%8E", "%E2%80%A5", "%EF%BC%9B", "%EF%BC%852f", "%EF%BC%BEx", "%CC%81", "%E2%80%8D", "%CD%85", "%E2%81%84", "%C2%BD", "%C2%A8", "%C2%A0", "::$DATA", ":$i30:$INDEX_ALLOCATION", "%E2%93%90dmin",
}

func hostilePath(t *rapid.T) string {
	return "/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(pathParts), 1, 9).Draw(t, "path"), "")
}

// hostileSettings returns a host with several routes, whose policies deny and allow some paths.
func hostileSettings(t *rapid.T) Settings {
	s := usualSettings("http://127.0.0.1:1")
	s.Routes, s.Policies = nil, nil
	for _, path := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"/", "/admin", "/docs", "/docs/secret", "/pub/a"}), 1, 4, rapid.ID[string]).Draw(t, "routes") {
		name := "r" + strings.ReplaceAll(path, "/", "-")
		p := policy.Named{Name: name, Rules: []policy.Rule{{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: staff}}, Paths: rapid.SampledFrom([][]string{nil, {"/docs/**", "/admin/**"}, {"/**"}}).Draw(t, "allow")}}}}
		switch rapid.IntRange(0, 3).Draw(t, "deny") {
		case 0:
			p.Rules = append(p.Rules, policy.Rule{Deny: &policy.Match{Paths: []string{"/docs/secret/**"}}})
		case 1:
			p.Rules = append(p.Rules, policy.Rule{Deny: &policy.Match{Paths: []string{"/*/secret", "/a"}}})
		case 2:
			p.Rules = append(p.Rules, policy.Rule{Deny: &policy.Match{When: `request.path.startsWith("/docs/secret")`}})
		}
		s.Policies = append(s.Policies, p)
		var rewrite *Rewrite
		if path != "/" && rapid.Bool().Draw(t, "rewrite") {
			rewrite = &Rewrite{Strip: path}
		}
		s.Routes = append(s.Routes, Route{Name: name, Rewrite: rewrite, Host: lenientHost, Path: path, Upstream: Upstreams{"http://127.0.0.1:1"}, Policy: []string{name},
			PathEncoding: rapid.SampledFrom([]string{"", lenientPaths}).Draw(t, "encoding"), PathCase: rapid.SampledFrom([]string{"", "", insensitiveCase}).Draw(t, "case")})
	}
	return s
}

// modelRoute returns the index of the route of s to which a framework's reading belongs, or -1.
func modelRoute(s Settings, reading string) int {
	longest := -1
	for i, r := range s.Routes {
		if (r.Path == "/" || reading == r.Path || strings.HasPrefix(reading, r.Path+"/")) && (longest < 0 || len(r.Path) > len(s.Routes[longest].Path)) {
			longest = i
		}
	}
	return longest
}

// modelAllows reports whether the rules of a route allow a framework's reading.
func modelAllows(p policy.Named, reading string) bool {
	under := func(reading, path string) bool { return reading == path || strings.HasPrefix(reading, path+"/") }
	allowed := false
	for _, rule := range p.Rules {
		switch {
		case rule.Allow != nil:
			allowed = len(rule.Allow.Paths) != 2 || under(reading, "/docs") || under(reading, "/admin")
		case rule.Deny.When != "":
			if strings.HasPrefix(reading, "/docs/secret") {
				return false
			}
		case rule.Deny.Paths[0] == "/docs/*":
			if regexp.MustCompile(`^/docs/[^/]+/?$`).MatchString(reading) {
				return false
			}
		case rule.Deny.Paths[0] == "/*/*/secret":
			if regexp.MustCompile(`^/[^/]+/[^/]+/secret/?$`).MatchString(reading) {
				return false
			}
		case rule.Deny.Paths[0] == "/docs/secret/**":
			if under(reading, "/docs/secret") {
				return false
			}
		default:
			if bare := strings.TrimSuffix(reading, "/"); bare == "/a" || regexp.MustCompile(`^/[^/]+/secret$`).MatchString(bare) {
				return false
			}
		}
	}
	return allowed
}

// TestPaths_EveryFrameworkReadsWhatWasDecided: whatever a framework makes of a path that is forwarded, it is a path of
// the same route, and one that the rules allow.
func TestPaths_EveryFrameworkReadsWhatWasDecided(t *testing.T) {
	for range 20 { // hostile paths are mostly rejected
		rapid.Check(t, checkFrameworks)
	}
}

func checkFrameworks(t *rapid.T) {
	s := hostileSettings(t)
	rt, err := compile(s, &routing{})
	if err != nil {
		t.Fatal(err)
	}
	checkTarget(t, s, rt, hostilePath(t))
}

// partlyDenied are the paths of deny rules that depend on where segments begin and end.
var partlyDenied = [][]string{{"/*/secret", "/a"}, {"/docs/secret/**"}, {"/docs/*"}, {"/*/*/secret"}}

// TestPaths_PartlyFoldedPathsAreDenied: paths that were forwarded although some framework, which folds them in part, finds
// a path that is denied.
func TestPaths_PartlyFoldedPathsAreDenied(t *testing.T) {
	for _, denied := range partlyDenied {
		s, rt := foldingSettings(t, denied)
		for _, target := range []string{"/pubdocssecret%EF%BC%8F%E2%93%90dmin%2fsec%CC%81ret/", "/x%E2%88%95y/SECRET", "/%CC%81/SECRET", "/%E2%80%8D/SECRET", "/%20/SECRET", "/DOCS/%20", "/DOCS/%E2%80%8D",
			"/DOCS/%CC%81;x", "/DOCS/%CC%81%EF%BC%9Bx/y", "/A%EF%BC%8F%CC%81%EF%BC%8Fsecret", "/%20/%C2%A0/SECRET", "/%E2%80%8D/%CC%81/SECRET", "/docs/sec%CD%85ret", "/docs/secret%CD%BA/x", "/::$DATA%E2%81%84/%C5%BFecret/%EF%BC%BC::$DATA%E2%88%95", "/%CD%85%EF%BC%8Fsec%CC%81ret%CD%BA", "/%C2%BD/SECRET", "/x%E2%84%80/SECRET", "/%CD%BA/doc%EF%BD%93/%20", "/DOCS%EF%BC%852f%E2%80%8D"} {
			checkTarget(t, s, rt, target)
		}
	}
}

// TestPaths_FoldedInPart is like TestPaths_EveryFrameworkReadsWhatWasDecided for paths of what is folded alone, of which
// more are forwarded.
func TestPaths_FoldedInPart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, rt := foldingSettings(t, rapid.SampledFrom(partlyDenied).Draw(t, "denied"))
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"/", "/", "/", "/", "A", "docs", "DOCS", "secret", "SECRET", "sec%CC%81ret", "s%E2%80%8Decret", "%C5%BFecret", "doc%EF%BD%93", "%C2%BD", "%E2%84%80", "%E2%81%84", "%E2%88%95", "%EF%BC%8F",
			"%EF%BC%BC", "%EF%BC%9B", "%20", "%C2%A0", "%C2%A8", "%CC%81", "%E2%80%8D", "%CD%85", "%CD%BA", ".", "::$DATA", "%EF%BC%9A$DATA", "%EF%BC%852f", "%2f", ";"}), 2, 8).Draw(t, "path")
		checkTarget(t, s, rt, "/"+strings.Join(parts, ""))
	})
}

// foldingSettings returns a host whose upstream ignores case, with one route, for which everything but denied is allowed.
func foldingSettings(t testFailer, denied []string) (Settings, *routing) {
	s := usualSettings("http://127.0.0.1:1")
	s.Policies = []policy.Named{{Name: "p", Rules: []policy.Rule{{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: staff}}, Paths: []string{"/**"}}}, {Deny: &policy.Match{Paths: denied}}}}}
	s.Routes = []Route{{Name: "r", Host: lenientHost, Path: "/", Upstream: Upstreams{"http://127.0.0.1:1"}, Policy: []string{"p"}, PathEncoding: lenientPaths, PathCase: insensitiveCase}}
	rt, err := compile(s, &routing{})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return s, rt
}

// checkTarget checks what frameworks make of target, if it is forwarded.
func checkTarget(t testFailer, s Settings, rt *routing, target string) {
	sent, route := forwardedPath(t, rt, target)
	if sent == "" {
		return
	}
	steps, folding := maps.Clone(frameworkSteps), rt.hosts[lenientHost][0].folded != nil
	if folding {
		maps.Copy(steps, foldingSteps)
	}
	chosen := slices.IndexFunc(s.Routes, func(r Route) bool { return r.Name == route.name })
	for reading, steps := range frameworkReadings(sent, steps, folding) {
		if s.Routes[chosen].Rewrite != nil { // the application is mounted at the path of its route
			reading = s.Routes[chosen].Path + reading
		}
		if at := modelRoute(s, reading); at != chosen {
			t.Fatalf("%q is sent as %q to %q; by %q it is %q, of route %d", target, sent, s.Routes[chosen].Path, steps, reading, at)
		}
		if !modelAllows(s.Policies[chosen], reading) {
			t.Fatalf("%q is sent as %q to %q; by %q it is %q, which is denied", target, sent, s.Routes[chosen].Path, steps, reading)
		}
	}
}

// testFailer is a test of testing or of rapid.
type testFailer interface {
	Fatalf(format string, args ...any)
}

// maxModelReadings bounds the readings of one path that the model tries.
const maxModelReadings = 2000

// frameworkReadings returns what frameworks make of a path by any sequence of steps, each with the steps that lead to it.
func frameworkReadings(path string, steps map[string]func(string) string, folding bool) map[string]string {
	readings, names := map[string]string{path: ""}, slices.Sorted(maps.Keys(steps))
	for queue := []string{path}; len(queue) > 0 && len(readings) < maxModelReadings; queue = queue[1:] {
		for _, name := range names {
			next := steps[name](queue[0])
			if !strings.HasPrefix(next, "/") {
				next = "/" + next
			}
			if _, ok := readings[next]; !ok {
				readings[next] = readings[queue[0]] + name + ", "
				queue = append(queue, next)
			}
		}
	}
	delete(readings, path) // as it is on the wire, which no framework reads
	if folding {
		folded := map[string]string{}
		for reading, how := range readings {
			folded[strings.ToLower(reading)] = how
		}
		return folded
	}
	return readings
}

// forwardedPath returns the path that the upstream of a route receives of a request for target by a member of staff; "" if
// the request is denied.
func forwardedPath(t testFailer, rt *routing, target string) (string, *route) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: " + lenientHost + "\r\n\r\n")))
	if err != nil {
		return "", nil
	}
	req := newRequest(r, rt)
	if denied := req.readTarget(r); denied != nil || req.internal {
		return "", nil
	}
	if denied := req.findRoute(); denied != nil {
		return "", nil
	}
	q := policy.Request{GroupIDs: []string{staff}, Method: req.method, Host: req.host, Path: canonical.Decoded(req.path), Time: time.Now()}
	if !req.route.decideReadings(&q, req.readings).Allow {
		return "", nil
	}
	path, denied := req.route.rewritePath(req)
	if denied != nil {
		return "", nil
	}
	return path, req.route
}
