package receipt

import (
	_ "embed"
	"html/template"
	"io"
	"time"

	"sallyport/audit"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("receipt").Funcs(template.FuncMap{"time": pageTime, "actor": actorText}).Parse(pageText))

// WritePage writes a receipt as one HTML page to print, without scripts and without anything from elsewhere. The
// signature is on it as text; it is the JSON that can be verified as a whole.
func WritePage(w io.Writer, r *Receipt, keyID, signature string) error {
	return page.Execute(w, struct {
		*Receipt
		Key, Signature string
	}{r, keyID, signature})
}

//go:embed report.html
var reportText string

var reportPage = template.Must(template.New("report").Funcs(template.FuncMap{"time": pageTime}).Parse(reportText))

// WritePage writes a report as one HTML page to print, in the manner of [WritePage].
func (r *Report) WritePage(w io.Writer) error { return reportPage.Execute(w, r) }

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
