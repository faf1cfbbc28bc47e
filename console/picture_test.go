package console_test

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sallyport/console"
)

const plainSVG = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<!-- made by a drawing program -->
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:inkscape="http://www.inkscape.org/namespaces/inkscape" viewBox="0 0 24 24" inkscape:export-filename="C:\icons\a.png">
<inkscape:grid type="xygrid"/><metadata>text</metadata>
<style>.a { fill: url(#g) } .b { stroke: #123 }</style>
<defs><linearGradient id="g"><stop offset="0" style="stop-color:#fff"/></linearGradient><path id="p" d="M4 22V10"/></defs>
<g class="a" fill="url(#g)"><use xlink:href="#p"/><use href="#p"/><text>Aé</text></g></svg>`

func svg(inner string) []byte {
	return []byte(`<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">` + inner + `</svg>`)
}

func pngOf(t *testing.T, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// webP returns a WebP file with one chunk.
func webP(chunk string, head []byte) []byte {
	body := append([]byte("WEBP"+chunk), binary.LittleEndian.AppendUint32(nil, uint32(len(head)+8))...)
	body = append(append(body, head...), make([]byte, 8)...)
	return append(append([]byte("RIFF"), binary.LittleEndian.AppendUint32(nil, uint32(len(body)))...), body...)
}

// TestTile_CheckFiles checks which files are icons: by what is in them, and whatever they are called.
func TestTile_CheckFiles(t *testing.T) {
	vp8 := func(width, height uint16) []byte {
		head := []byte{0, 0, 0, 0x9d, 0x01, 0x2a, 0, 0, 0, 0}
		binary.LittleEndian.PutUint16(head[6:], width)
		binary.LittleEndian.PutUint16(head[8:], height)
		return head
	}
	broken := pngOf(t, 40, 40)
	broken[len(broken)/2] ^= 0xff
	for name, test := range map[string]struct {
		content []byte
		want    string // "" for no fault
	}{
		"png":              {pngOf(t, 64, 64), ""},
		"svg":              {[]byte(plainSVG), ""},
		"svg_with_bom":     {append([]byte("\ufeff"), svg("")...), ""},
		"webp":             {webP("VP8 ", vp8(64, 64)), ""},
		"webp_lossless":    {webP("VP8L", []byte{0x2f, 0x3f, 0xc0, 0x0f, 0, 0, 0, 0, 0, 0}), ""},
		"webp_extended":    {webP("VP8X", []byte{0, 0, 0, 0, 63, 0, 0, 63, 0, 0}), ""},
		"png_too_large":    {pngOf(t, 1025, 4), "has 1025 × 4 pixels"},
		"png_broken":       {broken, "is not a PNG file that can be shown"},
		"png_cut_short":    {pngOf(t, 64, 64)[:60], "is not a PNG file that can be shown"},
		"png_header_alone": {[]byte("\x89PNG\r\n\x1a\n"), "is not a PNG file that can be shown"},
		"webp_too_large":   {webP("VP8 ", vp8(2000, 64)), "has 2000 × 64 pixels"},
		"webp_empty":       {webP("VP8 ", vp8(0, 64)), "has 0 × 64 pixels"},
		"webp_cut_short":   {webP("VP8 ", vp8(64, 64))[:34], "is not a WebP file"},
		"webp_of_others":   {webP("ALPH", vp8(64, 64)), "is not a WebP file"},
		"gif":              {[]byte("GIF89a and more"), "is no picture that pages show"},
		"html":             {[]byte("<!doctype html><script>alert(1)</script>"), "in its DOCTYPE"},
		"html_as_xml":      {[]byte(`<html xmlns="http://www.w3.org/1999/xhtml"><script>alert(1)</script></html>`), "its one outermost element must be"},
		"text":             {[]byte("hello"), "is no picture that pages show"},
		"empty":            {nil, "is no picture that pages show"},
		"too_large":        {append(svg(""), bytes.Repeat([]byte(" "), 256<<10)...), "has more than 262144 bytes"},

		"script":               {svg(`<script>alert(1)</script>`), "an element <script>"},
		"script_with_prefix":   {[]byte(`<x:svg xmlns:x="http://www.w3.org/2000/svg"><x:script>alert(1)</x:script></x:svg>`), "an element <script>"},
		"script_of_another":    {svg(`<h:script xmlns:h="http://www.w3.org/1999/xhtml">alert(1)</h:script>`), "an element <script>"},
		"script_of_none":       {svg(`<script xmlns="">alert(1)</script>`), "an element <script>"},
		"handler":              {svg(`<path d="M0 0" onload="alert(1)"/>`), "an attribute onload on <path>"},
		"handler_on_root":      {[]byte(`<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`), "an attribute onload on <svg>"},
		"handler_in_capitals":  {svg(`<path ONLOAD="alert(1)"/>`), "an attribute ONLOAD"},
		"foreign_object":       {svg(`<foreignObject><b/></foreignObject>`), "an element <foreignObject>"},
		"html_inside":          {svg(`<g><iframe xmlns="http://www.w3.org/1999/xhtml" src="/"/></g>`), "an element <iframe>"},
		"mathml_inside":        {svg(`<math xmlns="http://www.w3.org/1998/Math/MathML"/>`), "an element <math>"},
		"link":                 {svg(`<a href="https://evil.example/"><path/></a>`), "an element <a>"},
		"image":                {svg(`<image href="https://evil.example/x.png"/>`), "an element <image>"},
		"filter_image":         {svg(`<filter><feImage href="https://evil.example/x"/></filter>`), "an element <feImage>"},
		"animation":            {svg(`<set attributeName="href" to="javascript:alert(1)"/>`), "an element <set>"},
		"use_of_another_file":  {svg(`<use href="https://evil.example/x.svg#a"/>`), "an attribute href on <use>"},
		"use_by_xlink":         {svg(`<use xlink:href="x.svg#a"/>`), "an attribute href on <use>"},
		"use_of_data":          {svg(`<use href="data:image/svg+xml,x"/>`), "an attribute href on <use>"},
		"script_url":           {svg(`<use href=" javascript:alert(1)"/>`), "an attribute href on <use>"},
		"base":                 {svg(`<g xml:base="https://evil.example/"/>`), "an attribute base on <g>"},
		"fill_from_elsewhere":  {svg(`<path fill="url( 'https://evil.example/x#g')"/>`), "an attribute fill on <path>"},
		"style_attribute":      {svg(`<path style="fill:URL(//evil.example/x)"/>`), "an attribute style on <path>"},
		"style_escaped":        {svg(`<path style="fill:u\72l(//evil.example/x)"/>`), "an attribute style on <path>"},
		"style_import":         {svg(`<style>@import "https://evil.example/x.css";</style>`), "has a style sheet that loads something"},
		"style_font":           {svg(`<style>@font-face{src:url(https://evil.example/f)}</style>`), "has a style sheet that loads something"},
		"style_in_cdata":       {svg(`<style><![CDATA[@import "//evil.example";]]></style>`), "has a style sheet that loads something"},
		"style_in_two_parts":   {svg(`<style>@im<!-- -->port "//evil.example";</style>`), "has a style sheet that loads something"},
		"entity":               {[]byte(`<!DOCTYPE svg [<!ENTITY x "<script>alert(1)</script>">]>` + string(svg(`&x;`))), "declares entities"},
		"unknown_entity":       {svg(`&nbsp;`), "is not an SVG file that can be shown"},
		"style_sheet_of_xml":   {append([]byte(`<?xml-stylesheet href="https://evil.example/x.xsl"?>`), svg("")...), "a processing instruction <?xml-stylesheet"},
		"two_roots":            {append(svg(""), svg("")...), "its one outermost element"},
		"no_namespace":         {[]byte(`<svg/>`), "its one outermost element"},
		"not_closed":           {[]byte(`<svg xmlns="http://www.w3.org/2000/svg"><g>`), "is not an SVG file that can be shown"},
		"other_encoding":       {[]byte(`<?xml version="1.0" encoding="UTF-16"?>` + string(svg(""))), "is not an SVG file that can be shown"},
		"bytes_that_are_none":  {svg("\xff"), "is not UTF-8"},
		"deep":                 {svg(strings.Repeat("<g>", 300) + strings.Repeat("</g>", 300)), "has too many elements"},
		"many":                 {svg(strings.Repeat("<g/>", 30_000)), "has too many elements"},
		"nothing_but_comments": {[]byte(`<!-- nothing -->`), "it has no element"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "icon.png")
			if err := os.WriteFile(path, test.content, 0o600); err != nil {
				t.Fatal(err)
			}
			got := strings.Join(faultsOf(console.Tile{Icon: path}.CheckFiles), "\n")
			if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
	t.Run("no_file", func(t *testing.T) {
		if got := faultsOf(console.Tile{Icon: "/nowhere"}.CheckFiles); len(got) != 1 || !strings.Contains(got[0], "icon: there is no file /nowhere") {
			t.Error(got)
		}
	})
	t.Run("named_pipe", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "pipe")
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Skip(err)
		}
		if got := faultsOf(console.Brand{Logo: path}.CheckFiles); len(got) != 1 || !strings.Contains(got[0], "is not an ordinary file") {
			t.Error(got)
		}
	})
	t.Run("none_named", func(t *testing.T) {
		if got := faultsOf(console.Tile{}.CheckFiles); got != nil {
			t.Error(got)
		}
	})
}
