package console

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	svgSpace  = "http://www.w3.org/2000/svg"
	htmlSpace = "http://www.w3.org/1999/xhtml"
	mathSpace = "http://www.w3.org/1998/Math/MathML"
	linkSpace = "http://www.w3.org/1999/xlink"
	xmlSpace  = "http://www.w3.org/XML/1998/namespace"

	maxElements = 20_000
	maxDepth    = 200
)

// svgElements are the elements of SVG that a picture may have: those that draw something that stands still. Scripts, foreign
// objects, links, animations and pictures within the picture are not among them.
var svgElements = setOf(`svg g defs symbol use title desc metadata style view switch
	path rect circle ellipse line polyline polygon text tspan textPath
	linearGradient radialGradient stop pattern clipPath mask marker filter
	feBlend feColorMatrix feComponentTransfer feComposite feConvolveMatrix feDiffuseLighting feDisplacementMap
	feDistantLight feDropShadow feFlood feFuncA feFuncB feFuncG feFuncR feGaussianBlur feMerge feMergeNode feMorphology
	feOffset fePointLight feSpecularLighting feSpotLight feTile feTurbulence`)

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(words) {
		set[word] = true
	}
	return set
}

// checkSVG returns why an SVG file is not shown. The pages show pictures in img elements, in which browsers run no script and
// load nothing, and serve them with a policy that forbids both. This check is there beside that: what a picture does not
// need, it must not have.
func checkSVG(body []byte) error {
	if !utf8.Valid(body) {
		return errors.New("is not UTF-8; save the SVG file as UTF-8")
	}
	d := xml.NewDecoder(bytes.NewReader(body))
	d.Entity = map[string]string{}
	depth, elements := 0, 0
	var style *strings.Builder // the text of the style sheet that is being read, which comments may cut into pieces
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("is not an SVG file that can be shown: %w", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if elements++; elements > maxElements || depth > maxDepth {
				return errors.New("has too many elements for a picture of this size; simplify it")
			}
			if depth == 0 && (elements > 1 || token.Name != xml.Name{Space: svgSpace, Local: "svg"}) {
				return errors.New(`is not an SVG file: its one outermost element must be <svg xmlns="http://www.w3.org/2000/svg">`)
			}
			if err := checkElement(token); err != nil {
				return err
			}
			if depth++; style != nil {
				return errors.New("has an element inside a style sheet; remove it")
			}
			if token.Name.Local == "style" {
				style = new(strings.Builder)
			}
		case xml.EndElement:
			if style != nil && !isPlainStyle(style.String()) {
				return errors.New("has a style sheet that loads something; remove @import, and every url() that does not begin with #")
			}
			depth, style = depth-1, nil
		case xml.CharData:
			if style != nil {
				style.Write(token)
			}
		case xml.ProcInst:
			if token.Target != "xml" {
				return fmt.Errorf("has a processing instruction <?%s, which a picture does not need; remove it", short(token.Target))
			}
		case xml.Directive:
			if bytes.ContainsAny(token, "[") || !bytes.HasPrefix(bytes.ToUpper(token), []byte("DOCTYPE SVG")) {
				return errors.New("declares entities or the like in its DOCTYPE; remove the DOCTYPE")
			}
		}
	}
	if elements == 0 {
		return errors.New("is not an SVG file: it has no element")
	}
	return nil
}

// checkElement returns why an element is not shown. Elements and attributes of other vocabularies, such as those that drawing
// programs leave behind, do nothing in a browser, but for those of HTML and MathML.
func checkElement(e xml.StartElement) error {
	name := e.Name
	known := name.Space == svgSpace && svgElements[name.Local]
	foreign := name.Space != svgSpace && name.Space != htmlSpace && name.Space != mathSpace && name.Space != "" && !strings.EqualFold(name.Local, "script")
	if !known && !foreign {
		return fmt.Errorf("has an element <%s>, which pictures here must not have: they run no script, lead nowhere, load nothing and stand still; remove it", short(name.Local))
	}
	for _, a := range e.Attr {
		if active := a.Name.Space == "" && a.Name.Local != "xmlns" || a.Name.Space == linkSpace || a.Name.Space == xmlSpace; active && !isPlainAttribute(a) {
			return fmt.Errorf("has an attribute %s on <%s> that runs or loads something; remove it", short(a.Name.Local), short(name.Local))
		}
	}
	return nil
}

// isPlainAttribute reports whether an attribute runs nothing and loads nothing.
func isPlainAttribute(a xml.Attr) bool {
	name, value := strings.ToLower(a.Name.Local), strings.TrimSpace(a.Value)
	switch {
	case strings.HasPrefix(name, "on"):
		return false
	case name == "href" || name == "src" || name == "base":
		return strings.HasPrefix(value, "#")
	}
	return isPlainStyle(value)
}

var (
	styleURL   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)url\s*\(\s*['"]?\s*(#?)`) })
	styleLoads = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)@import|@namespace|image-set|expression\s*\(|javascript:|\\`)
	})
)

// isPlainStyle reports whether a piece of CSS loads nothing but parts of the picture itself. Escapes could hide it.
func isPlainStyle(text string) bool {
	for _, found := range styleURL().FindAllStringSubmatch(text, -1) {
		if found[1] != "#" {
			return false
		}
	}
	return !styleLoads().MatchString(text)
}

// short returns the beginning of a name out of a file.
func short(name string) string {
	if len(name) > 40 {
		return name[:40] + "…"
	}
	return name
}
