package canonical

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// FoldedReadings returns every path that some server could read in path, which is canonical, if it folds paths. Their
// letters are folded as by [Fold]. Otherwise they are like [Readings].
//
// Servers apply the parts of Fold apart from each other: one drops marks and knows no fullwidth letters. Where this
// changes letters alone, the reading with all letters folded stands for all such servers, since rules are folded too. Where
// segments become others, there is a reading with the change and one without: a／b is one segment or two, and a segment of
// blanks is there or not. A server may do so before or after it finds where segments end: /a/%2F．． is /a/ or has a dot
// segment, and //a∕b/c has the host a∕b or the host a. So each such change is a step like the others.
//
// A segment of marks or invisible characters alone is an error, as is one of dots: what is left of it depends on which of
// them a server drops.
func FoldedReadings(path string) ([]string, error) {
	all, err := readingsOf(decodeOrdinary(path), stepsFor(path))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(reading string) bool { return trimSegments(foldInSegments(reading)) != reading }), nil
}

// stepsFor returns the steps of servers that fold paths. A path with nothing to decode stays ASCII.
func stepsFor(path string) []func(string) string {
	if strings.Contains(path, "%") {
		return foldedSteps
	}
	return foldedASCIISteps
}

var (
	foldedASCIISteps = append([]func(string) string{foldInSegments, trimSegments, dropBlanks, dropStreams, dropKnownStreams}, steps...)
	foldedSteps      = append([]func(string) string{
		decomposeSlashes, replaceRune("\uff0f"), replaceRune("\u2044"), replaceRune("\u2215"), replaceRune("\u29f8"),
		percentSigns.Replace, composeSubscripts, dropSubscripts, dropComposedSubscripts, blankSpacingSubscripts, dropSpacingSubscripts,
	}, foldedASCIISteps...)
)

// replaceRune returns a step that replaces a character that is a slash to some servers. Each has a step of its own: those
// who take the fraction slash for one may not know the fullwidth slash.
func replaceRune(slash string) func(string) string {
	return func(path string) string { return strings.ReplaceAll(path, slash, "/") }
}

// percentSigns replaces what is a percent sign to servers that know compatibility characters. One that does so before it
// decodes once more finds segments that letters folded at the same time would hide.
var percentSigns = strings.NewReplacer("\uff05", "%", "\ufe6a", "%")

// foldInSegments folds letters and leaves slashes of other scripts as they are. A part of a segment that has nothing but
// marks, invisible characters and blanks of other scripts becomes ".".
func foldInSegments(path string) string {
	if isASCII(path) {
		return strings.ToLower(path)
	}
	var out strings.Builder
	out.Grow(len(path))
	for path != "" {
		end := strings.IndexFunc(path, endsPart)
		if end < 0 {
			end = len(path)
		}
		out.WriteString(foldPart(path[:end]))
		_, n := utf8.DecodeRuneInString(path[end:])
		out.WriteString(foldEnd(path[end : end+n]))
		path = path[end+n:]
	}
	return out.String()
}

func foldPart(part string) string {
	folded := untilStable(part, foldLetters)
	if !isASCII(part) && strings.Trim(folded, " ") == "" {
		return "."
	}
	return folded
}

// foldEnd folds a character that ends a part. Those that hold a slash have steps of their own.
func foldEnd(end string) string {
	if isASCII(end) {
		return end
	}
	if folded := untilStable(end, foldLetters); !strings.ContainsAny(folded, "/\u2044\u2215\u29f8") {
		return folded
	}
	return end
}

// endsPart reports whether r, or what some server makes of it, can end a segment or a path.
func endsPart(r rune) bool {
	const ends = special + "\u2044\u2215\u29f8\u00a5\u20a9\u2216\u29f5"
	if r < utf8.RuneSelf {
		return strings.ContainsRune(special, r)
	}
	return strings.ContainsRune(ends, r) || bytes.ContainsAny(decomposition(r), ends)
}

// decomposition returns what a character is in NFKD; empty if that is the character itself.
func decomposition(r rune) []byte {
	if r < utf8.RuneSelf {
		return nil
	}
	return norm.NFKD.PropertiesString(string(r)).Decomposition()
}

// decomposeSlashes decomposes characters that hold a slash among other characters, such as ½ and ℀.
func decomposeSlashes(path string) string {
	if strings.IndexFunc(path, holdsSlash) < 0 {
		return path
	}
	var out strings.Builder
	for _, r := range path {
		if holdsSlash(r) {
			out.Write(decomposition(r))
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}

func holdsSlash(r rune) bool {
	parts := decomposition(r)
	return len(parts) > 1 && bytes.ContainsAny(parts, "/\u2044")
}

// The iota subscript is a mark that is the letter iota in upper case; [Fold] takes it for the letter. No other mark has
// such an upper case. A server that writes upper case before it drops marks takes one that stands alone for a letter, and
// drops one in a composed letter such as U+1FB3, so that these are steps apart.
func composeSubscripts(path string) string {
	if strings.IndexFunc(path, hasSubscript) < 0 {
		return path
	}
	return norm.NFC.String(path)
}

func dropSubscripts(path string) string { return strings.ReplaceAll(path, "\u0345", "") }

// dropComposedSubscripts drops the iota subscripts of composed letters.
func dropComposedSubscripts(path string) string {
	if strings.IndexFunc(path, hasSubscript) < 0 {
		return path
	}
	var out strings.Builder
	for _, r := range path {
		if hasSubscript(r) && r != '\u0345' && r != spacingSubscript {
			out.WriteString(dropSubscripts(string(decomposition(r))))
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}

// spacingSubscript is a blank with an iota subscript.
const spacingSubscript = '\u037a'

func blankSpacingSubscripts(path string) string {
	return strings.ReplaceAll(path, string(spacingSubscript), " ")
}

// dropSpacingSubscripts drops the blank too. A server that finds this one may leave others as they are, which are still
// encoded when it looks.
func dropSpacingSubscripts(path string) string {
	return strings.ReplaceAll(path, string(spacingSubscript), "")
}

func hasSubscript(r rune) bool {
	return r == '\u0345' || bytes.ContainsAny(decomposition(r), "\u0345")
}
