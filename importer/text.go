package importer

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// lines reads settings as people have them in files of variables, scripts, units of systemd and INI files.
type lines struct {
	envPrefix string            // of variables; "" if the program's have none
	ini       bool              // key = value
	old       func(string) bool // reports whether a key may stand before its value and a blank; nil if none may
}

var (
	envLine = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\s*(?:export\s+|Environment=)?"?([A-Z][A-Z0-9_]*)=(.*)$`)
	})
	flagWord = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^--?([a-z][A-Za-z0-9._-]*)(?:=(.*))?$`) })
	iniLine  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\s*-{0,2}([A-Za-z][A-Za-z0-9._-]*)\s*[=:]\s*(.*)$`) })
	oldLine  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([a-z][a-z-]*) +(.+)$`) })
)

// read calls add for each setting of text. first is the number of its first line, indent that of blanks before each.
func (l lines) read(text string, first, indent int, add func(setting), strange func(place)) {
	waiting := (*setting)(nil) // a flag whose value may be the next word
	flush := func() {
		if waiting != nil {
			add(*waiting)
			waiting = nil
		}
	}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, "\r")
		at := place{line: first + i, col: indent + len(line) - len(strings.TrimLeft(line, " \t")) + 1}
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';' || trimmed[0] == '[':
			flush()
		case strings.HasPrefix(trimmed, "ExecStart="):
			flush()
			waiting = flagsIn(strings.Replace(line, "=", " ", 1), at.line, indent, nil, add)
		case l.isVariable(trimmed):
			flush()
			m := envLine().FindStringSubmatch(trimmed)
			at.key = m[1]
			value := unquote(strings.TrimSuffix(m[2], `"`), m[2])
			add(setting{place: at, name: m[1], values: []string{value}, form: inEnvironment, opaque: templates().MatchString(value)})
		case hasFlags(trimmed) && !(l.ini && iniLine().MatchString(trimmed) && !strings.HasPrefix(trimmed, "-")):
			waiting = flagsIn(line, at.line, indent, waiting, add)
		case l.ini && iniLine().MatchString(trimmed):
			flush()
			m := iniLine().FindStringSubmatch(trimmed)
			at.key = m[1]
			add(setting{place: at, name: m[1], values: []string{unquote(m[2], m[2])}, form: inFile, opaque: templates().MatchString(m[2])})
		case l.old != nil && oldLine().MatchString(trimmed) && l.old(oldLine().FindStringSubmatch(trimmed)[1]):
			flush()
			m := oldLine().FindStringSubmatch(trimmed)
			at.key = m[1]
			add(setting{place: at, name: m[1], values: []string{m[2]}, form: inFile, opaque: templates().MatchString(m[2])})
		default:
			flush()
			if first, _, _ := strings.Cut(trimmed, " "); strings.HasSuffix(trimmed, `\`) || strings.HasPrefix(first, "ExecStart") || strings.Contains(first, "/") || first == "exec" {
				continue // the command itself
			}
			strange(at)
		}
	}
	flush()
}

func (l lines) isVariable(line string) bool {
	m := envLine().FindStringSubmatch(line)
	return m != nil && strings.HasPrefix(m[1], l.envPrefix)
}

func hasFlags(line string) bool {
	return strings.HasPrefix(line, "--") || strings.HasPrefix(line, "-") && flagWord().MatchString(strings.Fields(line)[0]) || strings.Contains(line, " --")
}

// flagsIn calls add for each flag of a line of a command. It returns a flag that may have its value in the next line. A flag
// whose value goes on behind a blank is opaque: a part of it must not be taken for the whole.
func flagsIn(line string, number, indent int, waiting *setting, add func(setting)) *setting {
	for _, w := range shellWords(line) {
		m := flagWord().FindStringSubmatch(w.text)
		switch {
		case m == nil && waiting == nil:
		case m == nil && waiting.bare:
			waiting.values, waiting.bare, waiting.opaque = []string{w.text}, false, templates().MatchString(w.text)
		case m == nil:
			waiting.opaque = true
		default:
			if waiting != nil {
				add(*waiting)
			}
			waiting = &setting{place: place{number, indent + w.col, "--" + m[1]}, name: m[1], form: inFlag, bare: true}
			if strings.Contains(w.text, "=") {
				waiting.values, waiting.bare, waiting.opaque = []string{m[2]}, false, templates().MatchString(m[2])
			}
		}
	}
	if waiting != nil && !waiting.bare {
		add(*waiting)
		return nil
	}
	return waiting
}

type word struct {
	text string
	col  int
}

// shellWords splits a line as a shell does, as far as quotes and blanks go. A backslash at the end is left out.
func shellWords(line string) (words []word) {
	var text strings.Builder
	begun, quote := -1, byte(0)
	end := func() {
		if begun >= 0 {
			words = append(words, word{text.String(), begun + 1})
			text.Reset()
			begun = -1
		}
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == '"' && c == '\\' && i+1 < len(line):
			i++
			text.WriteByte(line[i])
		case quote != 0:
			text.WriteByte(c)
		case c == ' ' || c == '\t':
			end()
		case c == '#' && begun < 0:
			return words
		case c == '\\' && strings.TrimSpace(line[i+1:]) == "":
			end()
			return words
		default:
			if begun < 0 {
				begun = i
			}
			if c == '\'' || c == '"' {
				quote = c
				continue
			}
			if c == '\\' {
				i++
				c = line[i]
			}
			text.WriteByte(c)
		}
	}
	end()
	return words
}

// unquote returns text without the quotes around it, or else otherwise.
func unquote(text, otherwise string) string {
	for _, candidate := range []string{strings.TrimSpace(otherwise), strings.TrimSpace(text)} {
		if len(candidate) >= 2 && candidate[0] == '"' && candidate[len(candidate)-1] == '"' {
			if plain, err := strconv.Unquote(candidate); err == nil {
				return plain
			}
			return candidate[1 : len(candidate)-1]
		}
		if len(candidate) >= 2 && candidate[0] == '\'' && candidate[len(candidate)-1] == '\'' {
			return candidate[1 : len(candidate)-1]
		}
	}
	return strings.TrimSpace(otherwise)
}
