package manage_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"sallyport/admin"
	"sallyport/directory"
)

// TestPages_NamesTurnNothing: a name with characters that change the direction of text does not change how the page reads, and
// names of scripts that are written from the right are kept apart from what stands beside them.
func TestPages_NamesTurnNothing(t *testing.T) {
	const turns = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
	e := newEnv(t)
	mallory := &directory.User{ExternalID: "ext-mallory" + turns, UserName: "mal" + turns + "lory", Active: true, Document: []byte(`{"displayName":"Mallory ` + turns + `","title":"` + turns + `"}`)}
	group := &directory.Group{DisplayName: "Crew" + turns, ExternalID: "g-crew" + turns}
	e.change(func(tx *directory.Tx) error {
		if err := tx.PutUser(mallory); err != nil {
			return err
		}
		return tx.PutGroup(group)
	})
	e.change(func(tx *directory.Tx) error {
		_, err := tx.AddMembers(group.ID, []string{mallory.ID})
		return err
	})
	if _, err := e.admin.Suspend(t.Context(), admin.Operator("root"+turns, "socket"), mallory.ID, "a laptop was lost"); err != nil {
		t.Fatal(err)
	}
	person := "/people/" + mallory.ID
	for _, path := range []string{"/people", person, person + "/history", person + "/record", "/groups", "/groups/" + group.ID, "/groups/" + group.ID + "/history", "/search?q=mallory", "/search?q=crew", "/record",
		"/why?user=" + mallory.ID + "&route=wiki", "/people?q=" + url.QueryEscape(turns), "/live?user=" + url.QueryEscape("app:"+turns)} {
		res := e.page(e.ada, path)
		res.hides(t, strings.Split(turns, "")...)
		res.shows(t, "\uFFFD")
	}
	e.page(e.ada, person).shows(t, "<bdi>mal"+strings.Repeat("\uFFFD", 9)+"lory</bdi>")
	if res := e.get(e.ada, "/people?format=json&q=mallory"); !strings.Contains(res.Body.String(), turns) {
		t.Errorf("the JSON of a list lacks what was pushed: %s", res.Body)
	}
	// Whoever writes what the page shows means that name.
	e.done(e.ada, person+"/unsuspend", url.Values{})
	e.done(e.ada, person+"/remove", url.Values{"name": {"mal" + strings.Repeat("\uFFFD", 9) + "lory"}})
	e.done(e.ada, "/groups/"+group.ID+"/remove", url.Values{"name": {"Crew" + strings.Repeat("\uFFFD", 9)}})
}

func TestPages_CSVHasNoFormulas(t *testing.T) {
	e := newEnv(t)
	starts := []string{"=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"}
	e.change(func(tx *directory.Tx) error {
		for i, start := range starts {
			name, _ := json.Marshal(start + "cmd|' /C calc'!A0")
			if err := tx.PutUser(&directory.User{ExternalID: fmt.Sprint(start, i), UserName: fmt.Sprint("mallory", i), Active: true, Document: fmt.Appendf(nil, `{"displayName":%s}`, name)}); err != nil {
				return err
			}
		}
		return nil
	})
	rows, err := csv.NewReader(e.get(e.ada, "/people?q=mallory&format=csv").Body).ReadAll()
	if err != nil || len(rows) != len(starts)+1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, row := range rows {
		for _, field := range row {
			if first, _ := utf8.DecodeRuneInString(field); field != "" && slices.Contains(starts, string(first)) {
				t.Errorf("a spreadsheet calculates %q", field)
			}
		}
	}
}
