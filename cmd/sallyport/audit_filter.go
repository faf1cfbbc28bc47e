package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/duration"
)

// recordFilter says which lines of the record are shown.
type recordFilter struct {
	kinds, routes, reasons []string // none: all
	since, until           boundValue
	user                   string // as the flag has it; "": everybody
	person                 recordPerson
}

// addFlags adds the flags of the filter, all but --until.
func (f *recordFilter) addFlags(c *cobra.Command) {
	f.since.now, f.until.now = time.Now, time.Now
	f.until.end = true
	c.Flags().StringSliceVar(&f.kinds, "kind", nil, "only events of this `KIND`, such as cut; several with commas")
	c.Flags().StringSliceVar(&f.routes, "route", nil, "only events of this `ROUTE`")
	c.Flags().StringSliceVar(&f.reasons, "reason", nil, "only events with this `REASON`, such as unknown_user")
	c.Flags().StringVar(&f.user, "user", "", "only events about this `USER`, and what they did: a userName, e-mail, externalId or id")
	c.Flags().Var(&f.since, "since", "only events since then: a time, a day such as 2026-05-03, or how far back, such as 12h or 30d")
	_ = c.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(kindNames(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(reasonNames(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("since", cobra.NoFileCompletions)
}

func kindNames() (names []string) {
	for _, d := range audit.Catalogue() {
		names = append(names, string(d.Kind))
	}
	return names
}

// reasonNames returns the reasons of all kinds of events, each once.
func reasonNames() (names []string) {
	for _, d := range audit.Catalogue() {
		for _, r := range d.Reasons {
			if r.Name != "" {
				names = append(names, r.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// prepare checks the flags and finds out who the user is.
func (f *recordFilter) prepare(cmd *cobra.Command) (err error) {
	for name, values := range map[string][]string{"kind": f.kinds, "route": f.routes, "reason": f.reasons, "user": {f.user}} {
		if cmd.Flags().Changed(name) && strings.Join(values, "") == "" { // as of a variable of the shell that is not set
			return fmt.Errorf("--%s is empty, which would select everything; leave it out if that is meant", name)
		}
	}
	for _, kind := range f.kinds {
		if !slices.Contains(kindNames(), kind) {
			return fmt.Errorf("no events are of the kind %q; the kinds are %s", kind, strings.Join(kindNames(), ", "))
		}
	}
	for _, reason := range f.reasons {
		if !slices.Contains(reasonNames(), reason) { // no error: the record may be of another version
			fmt.Fprintf(cmd.ErrOrStderr(), "note: this version records no event with the reason %q; docs/audit.md lists the reasons, and so does `sallyport audit schema`\n", printable(reason))
		}
	}
	if !f.since.at.IsZero() && !f.until.at.IsZero() && f.until.at.Before(f.since.at) {
		return fmt.Errorf("--until (%s) is before --since (%s)", f.until.String(), f.since.String())
	}
	if f.user != "" {
		f.person, err = findRecordPerson(cmd, f.user)
	}
	return err
}

func (f *recordFilter) matches(e *audit.Event) bool {
	has := func(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }
	return has(f.kinds, string(e.Kind)) && has(f.routes, e.Route) && has(f.reasons, e.Reason) &&
		(f.since.at.IsZero() || !e.Time.Before(f.since.at)) && (f.until.at.IsZero() || !e.Time.After(f.until.at)) &&
		(f.user == "" || f.person.in(e))
}

// recordPerson is somebody in the record. An id is known of those whom the directory has.
type recordPerson struct{ id, name string }

// in reports whether an event is about the person, or tells what they did.
func (p recordPerson) in(e *audit.Event) bool {
	is := func(id, name string) bool {
		if p.id != "" && id != "" {
			return id == p.id
		}
		return name != "" && strings.EqualFold(name, p.name) || p.id == "" && id != "" && id == p.name
	}
	return is(e.User, e.UserName) || e.Actor.Kind == audit.ActorUser && is(e.Actor.ID, e.Actor.Name)
}

// findRecordPerson asks the directory who is named. Of somebody whom it does not have any more, the record still has the
// userName and the id; the same holds if the directory cannot be asked.
func findRecordPerson(cmd *cobra.Command, name string) (recordPerson, error) {
	var found []admin.User
	client, err := newControlClient(cmd)
	if err == nil {
		err = client.call(cmd.Context(), http.MethodGet, "/people/"+url.PathEscape(name), nil, &found)
	}
	switch {
	case err == nil && len(found) == 1:
		return recordPerson{found[0].ID, found[0].UserName}, nil
	case err == nil && len(found) > 1:
		ids := make([]string, len(found))
		for i, u := range found {
			ids[i] = u.ID
		}
		return recordPerson{}, fmt.Errorf("%q names %d users; name one by their id: %s", name, len(found), strings.Join(ids, ", "))
	case err == nil:
		fmt.Fprintf(cmd.ErrOrStderr(), "note: the directory has nobody with the userName, e-mail, externalId or id %q; events are shown whose userName or id is that\n", name)
	default:
		fmt.Fprintf(cmd.ErrOrStderr(), "note: the directory cannot be asked who %q is, so events are shown whose userName or id is that (%s)\n", name, printable(err.Error()))
	}
	return recordPerson{name: name}, nil
}

// boundValue is the value of a flag: a time, a day, or how far back.
type boundValue struct {
	at  time.Time // zero: not set
	end bool      // a day means its end, and not its beginning
	now func() time.Time
}

// Type implements the interface of a flag's value.
func (*boundValue) Type() string { return "TIME" }

// String implements the interface of a flag's value.
func (v *boundValue) String() string {
	if v.at.IsZero() {
		return ""
	}
	return v.at.Format(time.RFC3339)
}

// Set implements the interface of a flag's value.
func (v *boundValue) Set(text string) error {
	if back, err := duration.Parse(text); err == nil {
		if back < 0 {
			return fmt.Errorf("%q is negative; write how far back, such as 30d", text)
		}
		v.at = v.now().Add(-back).UTC()
		return nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil && !v.end {
		v.at = day
		return nil
	}
	at, err := parseAt(text, v.now())
	if err != nil {
		return fmt.Errorf("%q is no time; write one such as 2026-05-03T18:00:00+02:00, a day such as 2026-05-03, or how far back, such as 12h or 30d", text)
	}
	v.at = at
	return nil
}
