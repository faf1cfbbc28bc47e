package policy

import (
	"fmt"
	"strings"
)

// glob is a pattern for canonical paths that matches whole segments. A * matches
// one segment. A /** at the end matches the path before it and everything below:
// a deny rule for /secret/** must not leave /secret itself open.
type glob struct {
	segments []string // each with its leading slash
	below    bool     // the pattern ends in /**
	slash    bool     // a slash at the end of the path makes no difference
}

// parseGlob parses a pattern of an allow rule, which matches exactly what is written.
func parseGlob(pattern string) glob {
	var g glob
	pattern, g.below = strings.CutSuffix(pattern, "/**")
	for pattern != "" {
		var first string
		first, pattern = cutSegment(pattern)
		g.segments = append(g.segments, first)
	}
	return g
}

// parseDenyGlob parses a pattern of a deny rule. Most frameworks serve /secret/ like
// /secret, so that a pattern for one of them matches the other too.
func parseDenyGlob(pattern string) glob {
	if pattern == "/" {
		return parseGlob(pattern)
	}
	g := parseGlob(strings.TrimSuffix(pattern, "/"))
	g.slash = true
	return g
}

func (g *glob) matches(path string) bool {
	for _, want := range g.segments {
		if path == "" {
			return false
		}
		var got string
		got, path = cutSegment(path)
		if want != got && !(want == "/*" && len(got) > 1) {
			return false
		}
	}
	return path == "" || g.below || g.slash && path == "/"
}

// cutSegment cuts a path after its first segment, which keeps its leading slash.
func cutSegment(path string) (first, rest string) {
	if end := strings.IndexByte(path[1:], '/'); end >= 0 {
		return path[:end+1], path[end+1:]
	}
	return path, ""
}

// globProblem returns what is wrong with a pattern, or "".
func globProblem(pattern string) string {
	switch {
	case !strings.HasPrefix(pattern, "/"):
		return fmt.Sprintf("%q does not begin with /", pattern)
	case strings.Contains(pattern, "//") || strings.Contains(pattern, "/./") || strings.Contains(pattern, "/../") ||
		strings.HasSuffix(pattern, "/.") || strings.HasSuffix(pattern, "/.."):
		return fmt.Sprintf("%q has an empty or dot segment, which no request has", pattern)
	case strings.ContainsAny(pattern, "\\;?#%"):
		return fmt.Sprintf("%q has a character that a canonical path cannot have", pattern)
	}
	segments := strings.Split(pattern[1:], "/")
	for i, s := range segments {
		if strings.Contains(s, "*") && s != "*" && (s != "**" || i != len(segments)-1) {
			return fmt.Sprintf("%q: * stands for one whole segment, and /** only at the end, for the path before it and all below", pattern)
		}
	}
	return ""
}

// MatchesBelow reports whether a pattern can match a path that is prefix or below it.
func MatchesBelow(pattern, prefix string) bool {
	g := parseDenyGlob(pattern)
	if prefix == "/" {
		return true
	}
	for _, want := range g.segments {
		if prefix == "" {
			return true
		}
		var got string
		got, prefix = cutSegment(prefix)
		if want != got && want != "/*" {
			return false
		}
	}
	return prefix == "" || g.below
}
