package console

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Brand is how pages look: whose they are.
type Brand struct {
	Title     string `yaml:"title" doc:"the name on every page and in the titles of browser tabs, such as that of the company"`
	Logo      string `yaml:"logo" kind:"file" doc:"a PNG, SVG or WebP file, shown beside the title"`
	Color     string `yaml:"color" doc:"the color of links and buttons on light pages, such as \"#1d4ed8\"; text in it must be readable (WCAG 2.2 AA)"`
	ColorDark string `yaml:"color_dark" doc:"likewise on dark pages; a lighter shade of color when absent"`
}

// Tile is how the portal shows a route.
type Tile struct {
	Title       string `yaml:"title" doc:"the name of the application; the name of the route when absent"`
	Description string `yaml:"description" doc:"what the application is for, in a few words"`
	Icon        string `yaml:"icon" kind:"file" doc:"a PNG, SVG or WebP file; the first letter of the title when absent"`
	Group       string `yaml:"group" doc:"the heading below which the application is; those of one group are together"`
	Hidden      bool   `yaml:"hidden" doc:"true: the portal does not show the route"`
}

const (
	defaultTitle   = "Sallyport"
	maxTitle       = 60  // characters
	maxDescription = 200 // characters
	maxContact     = 200 // characters
)

// Check reports every fault of b, but for what is in its file.
func (b Brand) Check(fault func(path, problem string)) {
	checkWords("title", b.Title, maxTitle, fault)
	if b.Color != "" {
		report("color", light.check(b.Color, "light"), fault)
	}
	switch {
	case b.ColorDark != "" && b.Color == "":
		fault("color_dark", "stands without color; write color too")
	case b.ColorDark != "":
		report("color_dark", dark.check(b.ColorDark, "dark"), fault)
	}
}

// CheckFiles reports what is wrong with the file that b names.
func (b Brand) CheckFiles(fault func(path, problem string)) { checkPicture("logo", b.Logo, fault) }

// Check reports every fault of t, but for what is in its file.
func (t Tile) Check(fault func(path, problem string)) {
	checkWords("title", t.Title, maxTitle, fault)
	checkWords("description", t.Description, maxDescription, fault)
	checkWords("group", t.Group, maxTitle, fault)
}

// CheckFiles reports what is wrong with the file that t names.
func (t Tile) CheckFiles(fault func(path, problem string)) { checkPicture("icon", t.Icon, fault) }

// CheckContact reports what is wrong with whom pages name, at path.
func CheckContact(path, contact string, fault func(path, problem string)) {
	checkWords(path, contact, maxContact, fault)
}

func report(path, problem string, fault func(path, problem string)) {
	if problem != "" {
		fault(path, problem)
	}
}

// checkWords reports a text that does not fit in one line of a page.
func checkWords(path, text string, most int, fault func(path, problem string)) {
	odd := func(r rune) bool {
		return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
	}
	switch n := utf8.RuneCountInString(text); {
	case n > most:
		fault(path, fmt.Sprintf("has %d characters, and pages have space for %d; shorten it", n, most))
	case strings.ContainsFunc(text, odd) || !utf8.ValidString(text):
		fault(path, "has characters that no line of plain text has; write one line")
	case text != "" && strings.TrimSpace(text) == "":
		fault(path, "has only spaces; write words, or leave it out")
	}
}

// colorStyle returns the rules that give pages their color; "" for none.
func (b Brand) colorStyle() string {
	c, ok := parseColor(b.Color)
	if !ok {
		return ""
	}
	other, ok := parseColor(b.ColorDark)
	if !ok {
		other = dark.nearest(c)
	}
	return fmt.Sprintf(":root { --accent: %s; --on-accent: %s; --tint: %s; }\n@media (prefers-color-scheme: dark) { :root { --accent: %s; --on-accent: %s; --tint: %s; } }\n",
		c, light.on, light.tinted(c), other, dark.on, dark.tinted(other))
}

func (b Brand) title() string { return cmp.Or(strings.TrimSpace(b.Title), defaultTitle) }
