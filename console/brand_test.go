package console_test

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"sallyport/console"
)

// faultsOf returns what Check reports.
func faultsOf(check func(fault func(path, problem string))) (faults []string) {
	check(func(path, problem string) { faults = append(faults, path+": "+problem) })
	return faults
}

func TestBrand_Check(t *testing.T) {
	for name, test := range map[string]struct {
		brand console.Brand
		want  string // "" for no fault
	}{
		"nothing":             {console.Brand{}, ""},
		"all":                 {console.Brand{Title: "Example & Söhne", Color: "#0f766e", ColorDark: "#6fd3c4"}, ""},
		"upper_case":          {console.Brand{Color: "#0F5F58"}, ""},
		"no_color":            {console.Brand{Color: "teal"}, "color: \"teal\" is no color"},
		"short":               {console.Brand{Color: "#1d4"}, "is no color"},
		"signed":              {console.Brand{Color: "#+d4ed8"}, "is no color"},
		"injected":            {console.Brand{Color: "#1d4ed8;}body{"}, "is no color"},
		"too_light":           {console.Brand{Color: "#ffcc00"}, "has a contrast of only 1.3 to 1 on light pages"},
		"too_dark_for_dark":   {console.Brand{Color: "#0f5f58", ColorDark: "#0f5f58"}, "color_dark: has a contrast of only"},
		"dark_alone":          {console.Brand{ColorDark: "#6fd3c4"}, "color_dark: stands without color"},
		"long_title":          {console.Brand{Title: strings.Repeat("x", 61)}, "title: has 61 characters"},
		"lines":               {console.Brand{Title: "a\nb"}, "title: has characters that no line"},
		"text_that_turns":     {console.Brand{Title: "a\u202eb"}, "title: has characters that no line"},
		"spaces":              {console.Brand{Title: "  "}, "title: has only spaces"},
		"bytes_that_are_none": {console.Brand{Title: "a\xffb"}, "title: has characters that no line"},
	} {
		t.Run(name, func(t *testing.T) {
			faults := faultsOf(test.brand.Check)
			if got := strings.Join(faults, "\n"); (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

var suggested = regexp.MustCompile(`"(#[0-9a-f]{6})"$`)

// TestBrand_SuggestionsCanBeRead checks for many colors that the color that a fault suggests has none, and that a color
// without a fault needs no other for dark pages.
func TestBrand_SuggestionsCanBeRead(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for range 2000 {
		text := fmt.Sprintf("#%06x", random.IntN(1<<24))
		for _, inDark := range []bool{false, true} {
			brand := func(color string) console.Brand {
				if inDark {
					return console.Brand{Color: "#1d4ed8", ColorDark: color}
				}
				return console.Brand{Color: color}
			}
			faults := faultsOf(brand(text).Check)
			if len(faults) == 0 {
				continue
			}
			refused++
			found := suggested.FindStringSubmatch(faults[0])
			if found == nil {
				t.Fatalf("%s: %q suggests no color", text, faults[0])
			}
			if faults := faultsOf(brand(found[1]).Check); len(faults) > 0 {
				t.Errorf("%s: %s is suggested, and has a fault: %v", text, found[1], faults)
			}
		}
	}
	if refused < 500 {
		t.Errorf("only %d colors were refused", refused)
	}
}

// TestPages_Prepare checks that pages name what the configuration names, that the policy allows their style sheet and their
// logo, and that settings that cannot be used change nothing.
func TestPages_Prepare(t *testing.T) {
	p, err := console.New()
	if err != nil {
		t.Fatal(err)
	}
	logo := t.TempDir() + "/logo.svg"
	if err := os.WriteFile(logo, []byte(plainSVG), 0o600); err != nil {
		t.Fatal(err)
	}
	show := func() (*httptest.ResponseRecorder, string) {
		w := httptest.NewRecorder()
		p.Denied(w, console.Denied{Title: "You may not open this"})
		return w, w.Body.String()
	}
	use, err := p.Prepare(console.Settings{Brand: console.Brand{Title: "Example", Logo: logo, Color: "#0f5f58"}, Contact: "help@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if _, body := show(); strings.Contains(body, "Example") || !strings.Contains(body, "the people who run this service") {
		t.Error("settings that are only prepared are in force")
	}
	use()
	w, body := show()
	for _, want := range []string{"<title>You may not open this · Example</title>", "<span>Example</span>", `<img class="logo" src="/.sallyport/assets/`, "--accent: #0f5f58", `href="mailto:help@example.com"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(body, "the people who run") || strings.Contains(body, "Sallyport<") {
		t.Error("the page names others than the configuration does")
	}
	checkPolicy(t, w.Header(), body)
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "img-src 'self' data:;") {
		t.Errorf("policy %q does not allow the logo", csp)
	}
	if _, err := p.Prepare(console.Settings{Brand: console.Brand{Logo: logo + "x"}}); err == nil || !strings.Contains(err.Error(), "brand.logo: there is no file") {
		t.Errorf("a logo that is not there: %v", err)
	}
	if _, body := show(); !strings.Contains(body, "<span>Example</span>") {
		t.Error("settings that cannot be used changed the pages")
	}
	if look := p.Look(); look.Title != "Example" || look.Logo == "" || look.Style == "" || p.Contact() != "help@example.com" {
		t.Errorf("%+v, %q", look, p.Contact())
	}
}

// TestPages_Contact checks which contacts become links.
func TestPages_Contact(t *testing.T) {
	for contact, link := range map[string]string{"help@example.com": `href="mailto:help@example.com"`, "https://help.example.com/new?x=1": `href="https://help.example.com/new?x=1"`,
		"the help desk, extension 1234": "", "http://help.example.com/": "", "https://help.example.com is down": "", "javascript:alert(1)": "", "https://": "", "https://me:secret@example.com/": ""} {
		p, err := console.New()
		if err != nil {
			t.Fatal(err)
		}
		use, err := p.Prepare(console.Settings{Contact: contact})
		if err != nil {
			t.Fatal(err)
		}
		use()
		w := httptest.NewRecorder()
		p.Error(w, console.Error{Status: 503, Title: "x"})
		if body := w.Body.String(); !strings.Contains(body, contact) || (link == "") == strings.Contains(body, "<a ") || !strings.Contains(body, link) {
			t.Errorf("%s: %s", contact, body[strings.Index(body, "<main>"):])
		}
	}
}
