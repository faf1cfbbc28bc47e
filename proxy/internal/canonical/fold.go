package canonical

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold returns a decoded path as the server reads it that distinguishes the fewest paths: without regard to case, to
// compatibility characters such as fullwidth letters, to marks on letters and to invisible characters, and without blanks
// and dots at the end of a segment, which Windows drops. Fold of a result is that result.
func Fold(path string) string {
	return untilStable(path, func(path string) string {
		path = foldLetters(path)
		if !isASCII(path) {
			path = otherSlashes.Replace(path)
		}
		return dropBlanks(trimSegments(path))
	})
}

// untilStable applies fold until nothing changes. A path that changes more than once is rare, and settles soon.
func untilStable(path string, fold func(string) string) string {
	const enough = 8
	for range enough {
		folded := fold(path)
		if folded == path {
			break
		}
		path = folded
	}
	return path
}

func foldLetters(path string) string {
	if isASCII(path) {
		return strings.ToLower(path)
	}
	// Upper case first: some letters, such as the dotless i, are equal to others in upper case alone.
	path = strings.ToUpper(norm.NFKD.String(path))
	return cases.Fold().String(strings.Map(foldRune, path))
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}

// foldRune drops marks and invisible characters. It replaces what Windows takes for a backslash when it converts text to
// an older character set.
func foldRune(r rune) rune {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point):
		return -1
	case strings.ContainsRune("\u00a5\u20a9\u2216\u29f5", r):
		return '\\'
	}
	return r
}

// otherSlashes replaces what Windows takes for a slash when it converts text to an older character set.
var otherSlashes = strings.NewReplacer("\u2044", "/", "\u2215", "/", "\u29f8", "/")

// trimSegments drops blanks and dots at the end of each segment, except for a segment of blanks alone. A segment of dots
// and blanks could be a dot segment.
func trimSegments(path string) string {
	if !strings.ContainsAny(path, ". ") {
		return path
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		trimmed := strings.TrimRight(segment, ". ")
		switch {
		case trimmed != "":
			segments[i] = trimmed
		case strings.Contains(segment, "."):
			segments[i] = "."
		case segment != "":
			segments[i] = " "
		}
	}
	return strings.Join(segments, "/")
}

// dropBlanks empties segments of blanks alone.
func dropBlanks(path string) string {
	if !strings.Contains(path, " ") {
		return path
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if strings.Trim(segment, " ") == "" {
			segments[i] = ""
		}
	}
	return strings.Join(segments, "/")
}

// dropStreams drops everything that looks like the name of an NTFS stream: /secret::$DATA and /secret:$x are /secret.
func dropStreams(path string) string {
	return mapStreams(path, func(segment string) string {
		name, _, _ := strings.Cut(segment, ":")
		return name
	})
}

// dropKnownStreams drops the names of streams that every file or folder has. A server that knows them alone leaves other
// text with ":$" as it is.
func dropKnownStreams(path string) string {
	return mapStreams(path, func(segment string) string {
		for _, stream := range []string{"::$data", ":$i30:$index_allocation"} {
			if end := len(segment) - len(stream); end >= 0 && strings.EqualFold(segment[end:], stream) {
				return segment[:end]
			}
		}
		return segment
	})
}

// mapStreams replaces each segment that could have a stream.
func mapStreams(path string, replace func(string) string) string {
	if !strings.Contains(path, ":$") {
		return path
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if strings.Contains(segment, ":$") {
			segments[i] = replace(segment)
		}
	}
	return strings.Join(segments, "/")
}
