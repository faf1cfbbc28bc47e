package receipt

import (
	"bytes"
	_ "embed"
	"html/template"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"sallyport/audit"
)

//go:embed page.html
var pageText string

var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("receipt").Funcs(template.FuncMap{"time": pageTime, "actor": actorText}).Parse(pageText))
})

// WritePage writes a receipt as one HTML page to print, without scripts and without anything from elsewhere. The
// signature is on it as text; it is the JSON that can be verified as a whole.
func WritePage(w io.Writer, r *Receipt, keyID, signature string) error {
	return writePage(w, page(), struct {
		*Receipt
		Key, Signature string
	}{r, keyID, signature})
}

// writePage writes a page without control characters and those that change the direction of text: names in it can neither
// move the cursor of a terminal nor look like others.
func writePage(w io.Writer, t *template.Template, data any) error {
	var text bytes.Buffer
	if err := t.Execute(&text, data); err != nil {
		return err
	}
	_, err := io.WriteString(w, strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, text.String()))
	return err
}

//go:embed report.html
var reportText string

var reportPage = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("report").Funcs(template.FuncMap{"time": pageTime}).Parse(reportText))
})

// WritePage writes a report as one HTML page to print, in the manner of [WritePage].
func (r *Report) WritePage(w io.Writer) error { return writePage(w, reportPage(), r) }

// pageTime returns a time for people, to the millisecond.
func pageTime(t time.Time) string {
	if t.IsZero() {
		return "not recorded"
	}
	return t.UTC().Format("2006-01-02 15:04:05.000 UTC")
}

// actorText returns an actor for people.
func actorText(a audit.Actor) string {
	words := map[audit.ActorKind]string{audit.ActorToken: "the identity provider, with the provisioning token", audit.ActorOperator: "the operator",
		audit.ActorUser: "the user", audit.ActorSystem: "the server:", audit.ActorProvider: "the identity provider:"}
	text := words[a.Kind] + " " + a.Name
	if a.Address != "" {
		text += ", from " + a.Address
	}
	return text
}
