package console

import (
	"fmt"
	"net/http"
	"time"
)

// Access is what the page of a denial says about asking for access: the page of a request that waits, or the form to
// make one. If it has neither, nobody may approve.
type Access struct {
	Page string
	Form *AskForm
}

// AskForm is the form with which a person asks for access.
type AskForm struct {
	Action      string
	Policy      string
	URL         string // path and query of what the person had asked for
	Reason      string // what the person has written
	NeedsReason bool
	Longest     string // for which access is granted, as text
}

// Ask is the page for a request for access that was not made.
type Ask struct {
	Status  int
	Person  Person
	Title   string
	Why     string
	URL     string   // what the person had asked for, without its query; "" if that is not known
	Form    *AskForm // to try again; nil if that does not help
	Back    string   // where the person came from
	Request string   // the id of the HTTP request
}

// Ask writes a with its status.
func (p *Pages) Ask(w http.ResponseWriter, a Ask) { p.show(w, a.Status, "ask", a) }

// Asked is the page for a request for access that was made, now or before, and waits.
type Asked struct {
	Person   Person
	URL      string // what the person had asked for, without its query
	Reason   string
	Expires  string // how long the request waits, as text
	Deciders []string
	Needed   int // how many of them
	Page     string
	Back     string // to what the person had asked for
}

// Asked writes a.
func (p *Pages) Asked(w http.ResponseWriter, a Asked) { p.show(w, http.StatusOK, "asked", a) }

// Portion is what the portal shows of a person's requests for access, and of the access that came of them.
type Portion struct {
	Page    string // of all requests
	Waiting int    // requests that wait for a decision of the person
	Mine    []RequestLine
	Grants  []GrantLine
}

// RequestLine is a request for access in a list.
type RequestLine struct {
	Page  string
	Title string // the route, and who asks if that is somebody else
	Text  string // what for
	State string
}

// GrantLine is access for a while in a list.
type GrantLine struct {
	Page  string // of the request of which it came; "" if it did not come of one
	Title string
	Until string
	Left  string
}

// Requests is the page with the requests for access that a person made or may decide about.
type Requests struct {
	Person  Person
	Waiting []RequestLine
	Mine    []RequestLine
	Others  []RequestLine // that were decided, of other people
	Grants  []GrantLine
}

// Requests writes r.
func (p *Pages) Requests(w http.ResponseWriter, r Requests) { p.show(w, http.StatusOK, "requests", r) }

// Asking is the page of one request for access.
type Asking struct {
	ID, Title string
	Notice    string // why something was not done; "" for nothing
	State     string
	Mark      string // the class of the state
	Open      bool   // the request waits for a decision
	Mine      bool   // the person made it
	Asker     Person
	Subject
	Outcome
	Action string // where the forms post to
	All    string // the page of all requests
	Link   string // to what is open now; "" if it is not
	Ends   bool   // the access that came of the request is open, and the person may end it
}

// Subject is what the page of a request tells of what was asked for.
type Subject struct {
	URL, Route, Policy, Reason string
	Made, Expires              string
	LastGrant, Others          string // for those who decide
}

// Outcome is what the page of a request tells of its decision, and how it is made.
type Outcome struct {
	MayDecide  bool
	Approved   bool // by this person
	Choices    []Choice
	Deciders   []string
	Needed     int // how many of them
	Approvals  []string
	Decision   string
	DecidedWhy string
	Access     string // what came of it
}

// Choice is one of the times for which access can be granted.
type Choice struct {
	Value, Text string
	Usual       bool
}

// Asking writes a.
func (p *Pages) Asking(w http.ResponseWriter, status int, a Asking) { p.show(w, status, "request", a) }

// formatDay returns a time that may be long ago as pages show it.
func formatDay(t time.Time) string { return t.UTC().Format("2 January 2006 15:04 MST") }

// formatLength returns a length of time in its two largest units, rounded up to minutes.
func formatLength(d time.Duration) string {
	minutes := int((d + time.Minute - 1) / time.Minute)
	units := []struct {
		name    string
		minutes int
	}{{"day", 24 * 60}, {"hour", 60}, {"minute", 1}}
	for i, unit := range units {
		n := minutes / unit.minutes
		if n <= 0 {
			continue
		}
		text := count(n, unit.name)
		if i+1 < len(units) {
			if rest := minutes % unit.minutes / units[i+1].minutes; rest > 0 {
				text += " " + count(rest, units[i+1].name)
			}
		}
		return text
	}
	return "no time"
}

// count returns a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// lengths are the times that a person who approves may choose, if the policy allows them.
var lengths = []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour,
	12 * time.Hour, 24 * time.Hour, 3 * 24 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour}

// choicesUpTo returns the times to choose from: those up to the longest, and that one.
func choicesUpTo(longest, usual time.Duration) (choices []Choice) {
	add := func(d time.Duration) {
		choices = append(choices, Choice{Value: d.String(), Text: formatLength(d), Usual: d == usual})
	}
	done := usual == longest
	for _, d := range lengths {
		if d >= longest {
			break
		}
		if !done && usual <= d {
			if usual < d {
				add(usual)
			}
			done = true
		}
		add(d)
	}
	if !done {
		add(usual)
	}
	add(longest)
	return choices
}
