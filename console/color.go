package console

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// rgb is a color of sRGB, each part from 0 to 1.
type rgb [3]float64

// parseColor reads a color such as #1d4ed8.
func parseColor(text string) (c rgb, ok bool) {
	digits, ok := strings.CutPrefix(text, "#")
	n, err := strconv.ParseUint(digits, 16, 32)
	if !ok || len(digits) != 6 || err != nil {
		return c, false
	}
	for i := range c {
		c[i] = float64(n>>(16-8*i)&0xff) / 255
	}
	return c, true
}

func (c rgb) String() string {
	part := func(v float64) int { return int(math.Round(min(max(v, 0), 1) * 255)) }
	return fmt.Sprintf("#%02x%02x%02x", part(c[0]), part(c[1]), part(c[2]))
}

// rounded returns c as browsers get it.
func (c rgb) rounded() rgb { r, _ := parseColor(c.String()); return r }

// mix returns the color between c and other: c for 0, other for 1.
func (c rgb) mix(other rgb, share float64) rgb {
	for i := range c {
		c[i] += (other[i] - c[i]) * share
	}
	return c
}

// luminance is the relative luminance of WCAG 2.2.
func (c rgb) luminance() float64 {
	linear := func(v float64) float64 {
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}

// contrast is the contrast ratio of WCAG 2.2, from 1 to 21.
func contrast(a, b rgb) float64 {
	lighter, darker := a.luminance(), b.luminance()
	if lighter < darker {
		lighter, darker = darker, lighter
	}
	return (lighter + 0.05) / (darker + 0.05)
}

// minContrast is what WCAG 2.2 AA demands of text (success criterion 1.4.3).
const minContrast = 4.5

// scheme is one of the two color schemes of the pages, as far as the color of the configuration meets it. The style sheets
// have the same values.
type scheme struct {
	backgrounds []rgb // on which links are
	on          rgb   // the text of buttons
	tint        rgb   // is mixed with a little of the color where something is marked
	share       float64
	toward      rgb // in which direction the contrast grows
}

var (
	white = rgb{1, 1, 1}
	light = scheme{backgrounds: colors("#ffffff", "#f4f5f7", "#eef0f4"), on: white, tint: white, share: 0.1}
	dark  = scheme{backgrounds: colors("#10141c", "#181e29", "#222a38"), on: colors("#0b1220")[0], tint: colors("#181e29")[0], share: 0.15, toward: white}
)

func colors(texts ...string) (list []rgb) {
	for _, text := range texts {
		c, _ := parseColor(text)
		list = append(list, c)
	}
	return list
}

// tinted returns the background of what is marked.
func (s scheme) tinted(c rgb) rgb { return s.tint.mix(c, s.share).rounded() }

// contrastOf returns the least contrast that text and buttons of a color have.
func (s scheme) contrastOf(c rgb) float64 {
	least := min(contrast(c, s.on), contrast(c, s.tinted(c)))
	for _, background := range s.backgrounds {
		least = min(least, contrast(c, background))
	}
	return least
}

// nearest returns c, or else the color nearest to it in the direction of more contrast that can be read.
func (s scheme) nearest(c rgb) rgb {
	for step := 0.0; step <= 1; step += 0.01 {
		if near := c.mix(s.toward, step).rounded(); s.contrastOf(near) >= minContrast {
			return near
		}
	}
	return s.toward
}

// check returns what is wrong with a color in the scheme, or "". name is the scheme's.
func (s scheme) check(text, name string) string {
	c, ok := parseColor(text)
	if !ok {
		return fmt.Sprintf(`%q is no color; write six hexadecimal digits in quotes, such as "#1d4ed8"`, text)
	}
	if least := s.contrastOf(c); least < minContrast {
		return fmt.Sprintf(`has a contrast of only %.1f to 1 on %s pages, where links and buttons need 4.5 to 1 (WCAG 2.2 AA); the nearest color that can be read is "%s"`, math.Floor(least*10)/10, name, s.nearest(c))
	}
	return ""
}
