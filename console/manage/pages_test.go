package manage_test

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v4"
	"golang.org/x/net/html"

	"sallyport/console/manage"
)

// maxPage is how many bytes a page may have.
const maxPage = 150 << 10

// check fails the test if a page is not as every page must be: its headers, nothing inline, a title, a heading, names for
// what can be used, forms with tokens for those who may act alone, no text that is missing, and not too long.
func (res *response) check(t testing.TB, admin bool) {
	t.Helper()
	h := res.Header()
	if kind := h.Get("Content-Type"); kind != "text/html; charset=utf-8" {
		t.Errorf("%s: Content-Type is %q", res.path, kind)
	}
	csp := h.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"} {
		if !strings.Contains(csp, want) || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: Content-Security-Policy is %q", res.path, csp)
		}
	}
	for name, want := range map[string]string{"X-Frame-Options": "DENY", "Referrer-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin"} {
		if h.Get(name) != want {
			t.Errorf("%s: %s is %q", res.path, name, h.Get(name))
		}
	}
	if res.Body.Len() > maxPage {
		t.Errorf("%s has %d bytes", res.path, res.Body.Len())
	}
	doc, err := html.Parse(strings.NewReader(res.Body.String()))
	if err != nil {
		t.Fatal(err)
	}
	checkDocument(t, res.path, doc, admin)
	if key := missingText(doc); key != "" {
		t.Errorf("%s: there is no text for %s", res.path, key)
	}
}

func checkDocument(t testing.TB, path string, doc *html.Node, admin bool) {
	t.Helper()
	headings, ids, labels := 0, map[string]int{}, map[string]bool{}
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == "label" {
			labels[attr(n, "for")] = true
		}
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		checkInline(t, path, n)
		if id := attr(n, "id"); id != "" {
			if ids[id]++; ids[id] > 1 {
				t.Errorf("%s: the id %s is there twice", path, id)
			}
		}
		switch n.Data {
		case "h1":
			headings++
		case "title":
			if title := content(n); n.Parent.Data == "head" && !regexp.MustCompile(`^\S.* · Sallyport console$`).MatchString(title) {
				t.Errorf("%s: the title is %q", path, title)
			}
		case "form":
			checkForm(t, path, n, admin)
		case "input", "select", "textarea":
			if attr(n, "type") != "hidden" && attr(n, "aria-label") == "" && !labels[attr(n, "id")] && !within(n, "label") {
				t.Errorf("%s: the field %s has no label", path, attr(n, "name"))
			}
		case "button", "a", "th":
			if content(n) == "" && attr(n, "aria-label") == "" {
				t.Errorf("%s: a %s %s has no name", path, n.Data, attr(n, "href"))
			}
		case "svg":
			if attr(n, "aria-hidden") != "true" && (attr(n, "role") != "img" || attr(n, "aria-label") == "" && attr(n, "aria-labelledby") == "") {
				t.Errorf("%s: a picture has no name", path)
			}
		}
	}
	if headings != 1 {
		t.Errorf("%s: %d headings of the first level", path, headings)
	}
}

// checkInline fails the test if an element has a script or a style of its own, or leads to one.
func checkInline(t testing.TB, path string, n *html.Node) {
	t.Helper()
	if n.Data == "style" || n.Data == "base" || n.Data == "iframe" || n.Data == "object" || n.Data == "script" && (attr(n, "src") == "" || content(n) != "") {
		t.Errorf("%s: there is an inline %s", path, n.Data)
	}
	if n.Data == "img" && !slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "alt" }) {
		t.Errorf("%s: a picture has no alt", path)
	}
	for _, a := range n.Attr {
		if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
			t.Errorf("%s: %s has an inline %s", path, n.Data, a.Key)
		}
		if (a.Key == "href" || a.Key == "src" || a.Key == "action") && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "?") && !strings.HasPrefix(a.Val, "#") && !strings.HasPrefix(a.Val, "https://") && !strings.HasPrefix(a.Val, "mailto:") {
			t.Errorf("%s: %s leads to %q", path, n.Data, a.Val)
		}
	}
}

// checkForm fails the test if a form that acts is shown to those who may not, or has no token.
func checkForm(t testing.TB, path string, form *html.Node, admin bool) {
	t.Helper()
	if !strings.EqualFold(attr(form, "method"), "post") {
		return
	}
	if !admin {
		t.Errorf("%s: an auditor gets a form for %s", path, attr(form, "action"))
	}
	for n := range form.Descendants() {
		if n.Data == "input" && attr(n, "name") == "token" && attr(n, "value") != "" {
			return
		}
	}
	t.Errorf("%s: the form for %s has no token", path, attr(form, "action"))
}

// dotted matches words with dots between them.
var dotted = regexp.MustCompile(`(?:^|[\s>])([a-z]+\.[a-z_]+(?:\.[a-z_]+)*)(?:$|[\s<,.;:])`)

// missingText returns a key of a text that the page shows in place of the text, or "".
func missingText(doc *html.Node) string {
	names := textNames()
	for n := range doc.Descendants() {
		if n.Type != html.TextNode || !strings.Contains(n.Data, ".") {
			continue
		}
		for _, key := range dotted.FindAllStringSubmatch(n.Data, -1) {
			name, _, _ := strings.Cut(key[1], ".")
			if names[name] && strings.Count(key[1], ".") == 1 && n.Parent.Data != "code" && n.Parent.Data != "pre" {
				return key[1]
			}
		}
	}
	return ""
}

// textNames returns what the keys of texts begin with.
var textNames = sync.OnceValue(func() map[string]bool {
	names := map[string]bool{}
	for key := range readTexts() {
		name, _, _ := strings.Cut(key, ".")
		names[name] = true
	}
	return names
})

func readTexts() map[string]string {
	texts := map[string]string{}
	text, err := os.ReadFile("texts/en.yaml")
	if err == nil {
		err = yaml.Unmarshal(text, &texts)
	}
	if err != nil {
		panic(err)
	}
	return texts
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// content returns the text of a node, and that of pictures in it.
func content(n *html.Node) string {
	var text strings.Builder
	for c := range n.Descendants() {
		switch {
		case c.Type == html.TextNode:
			text.WriteString(c.Data)
		case c.Data == "img":
			text.WriteString(attr(c, "alt"))
		}
	}
	return strings.TrimSpace(text.String())
}

func within(n *html.Node, name string) bool {
	for p := range n.Ancestors() {
		if p.Data == name {
			return true
		}
	}
	return false
}

// links returns where the links in elements with a name lead, below the console.
func (res *response) links(t testing.TB, in string) (paths []string) {
	t.Helper()
	doc := must[*html.Node](t)(html.Parse(strings.NewReader(res.Body.String())))
	for n := range doc.Descendants() {
		if below, ok := strings.CutPrefix(attr(n, "href"), manage.Path); ok && n.Data == "a" && within(n, in) {
			paths = append(paths, below)
		}
	}
	return paths
}

func TestPages_AreSound(t *testing.T) {
	e := newEnv(t)
	for name, viewer := range map[string]manage.Viewer{"admin": e.ada, "auditor": e.otto} {
		paths := e.page(viewer, "/").links(t, "nav")
		if len(paths) == 0 || paths[0] != "/" {
			t.Fatalf("the navigation leads to %q", paths)
		}
		for _, path := range paths {
			t.Run(name+path, func(t *testing.T) {
				e.t = t
				if page := e.page(viewer, path); !strings.Contains(page.Body.String(), `aria-current="page"`) {
					t.Error("the navigation does not say where the page is")
				}
				res := e.get(viewer, path+"?format=json")
				if res.Code != http.StatusOK || !json.Valid(res.Body.Bytes()) || res.Header().Get("Content-Type") != "application/json" {
					t.Errorf("as JSON: %d %s", res.Code, res.Body)
				}
				res = e.get(viewer, path+"?format=csv")
				if _, err := csv.NewReader(res.Body).ReadAll(); res.Code != http.StatusNotFound && (res.Code != http.StatusOK || err != nil) {
					t.Errorf("as CSV: %d %v %s", res.Code, err, res.Body)
				}
				if res := e.get(viewer, path+"?format=xml"); res.Code != http.StatusNotFound {
					t.Errorf("as XML: %d", res.Code)
				}
			})
		}
		e.t = t
	}
}

func TestPages_NameFilesThatAreThere(t *testing.T) {
	e := newEnv(t)
	doc := must[*html.Node](t)(html.Parse(e.page(e.ada, "/").Body))
	files := 0
	for n := range doc.Descendants() {
		for _, a := range n.Attr {
			if below, ok := strings.CutPrefix(a.Val, manage.Path); ok && strings.HasPrefix(below, "/static/") {
				files++
				if res := e.get(e.otto, below); res.Code != http.StatusOK || !strings.Contains(res.Header().Get("Cache-Control"), "immutable") {
					t.Errorf("%s: %d %v", below, res.Code, res.Header())
				}
				if res := e.get(e.otto, strings.Replace(below, "/static/", "/static/0", 1)); res.Code != http.StatusNotFound {
					t.Errorf("%s of another version: %d", below, res.Code)
				}
			}
		}
	}
	if files < 3 {
		t.Errorf("the page names %d files", files)
	}
}

func TestPages_OthersAreUnknown(t *testing.T) {
	e := newEnv(t)
	for _, path := range []string{"/nothing", "/static/", "/static/x", "/nothing/", "/texts/en.yaml", "/pages/_layout.html"} {
		if res := e.get(e.ada, path); res.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, res.Code)
		}
	}
	if res := e.post(e.ada, "/", nil); res.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST /: %d %v", res.Code, res.err)
	}
	if res := e.get(e.ada, ""); res.Code != http.StatusFound || res.Header().Get("Location") != manage.Path+"/" {
		t.Errorf("without a slash: %d %v", res.Code, res.Header())
	}
}

// TestTexts_AreThere: a key that a template or the code names has a text.
func TestTexts_AreThere(t *testing.T) {
	texts := readTexts()
	used := regexp.MustCompile(`(?:\btext |\bsay\()"([a-z]+\.[a-z_.]*[a-z_])"`)
	for _, pattern := range []string{"*.go", "pages/*.html"} {
		for _, name := range must[[]string](t)(filepath.Glob(pattern)) {
			for _, key := range used.FindAllStringSubmatch(string(must[[]byte](t)(os.ReadFile(name))), -1) {
				if _, ok := texts[key[1]]; !ok && !strings.HasSuffix(name, "_test.go") {
					t.Errorf("%s names %s, which has no text", name, key[1])
				}
			}
		}
	}
}
