package scim_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"sallyport/directory"
	"sallyport/scim"
)

// names returns the userNames (displayNames of groups) on a page, in order.
func names(result map[string]any) (list []string) {
	resources, _ := result["Resources"].([]any)
	for _, one := range resources {
		r := one.(map[string]any)
		if name, ok := r["userName"].(string); ok {
			list = append(list, name)
		} else {
			list = append(list, fmt.Sprint(r["displayName"]))
		}
	}
	return list
}

// TestSort: RFC 7644 §3.4.2.3.
func TestSort(t *testing.T) {
	c := newClient(t)
	for _, body := range []string{
		`{"userName":"b","title":"beta","active":true,"emails":[{"value":"z@x"},{"value":"a@x","primary":true}],"name":{"familyName":"Zeta"}}`,
		`{"userName":"A","title":"Alpha","active":false,"emails":[{"value":"m@x"}],"name":{"familyName":"eta"}}`,
		`{"userName":"c","active":true}`,
	} {
		c.do("POST", "/Users", body)
	}
	for query, want := range map[string]string{
		"sortBy=userName":                          "A b c",
		"sortBy=USERNAME&sortOrder=Descending":     "c b A",
		"sortBy=title":                             "A b c", // unassigned last
		"sortBy=title&sortOrder=descending":        "c b A", // and first
		"sortBy=emails":                            "b A c", // by the primary one
		"sortBy=emails.value&sortOrder=descending": "c A b",
		"sortBy=name.familyName":                   "A b c",
		"sortBy=active&filter=title+pr":            "A b",
		"sortBy=urn:ietf:params:scim:schemas:core:2.0:User:userName&count=1":       "A",
		"sortBy=userName&startIndex=2&count=1":                                     "b",
		"sortBy=userName&startIndex=9":                                             "",
		"sortBy=userName&sortOrder=descending&startIndex=3&attributes=displayName": "<nil>",
	} {
		_, result := c.do("GET", "/Users?"+query, "")
		if got := strings.Join(names(result), " "); got != want {
			t.Errorf("%s gives %q, want %q: %v", query, got, want, result["detail"])
		}
	}
	for query, want := range map[string]string{"sortBy=nothing": "invalidPath", "sortBy=name": "invalidPath", "sortBy=password": "invalidPath", "sortBy=userName&sortOrder=sideways": "invalidValue"} {
		if resp, result := c.do("GET", "/Users?"+query, ""); resp.StatusCode != http.StatusBadRequest || result["scimType"] != want {
			t.Errorf("%s is answered by %v", query, result)
		}
	}
}

// TestSort_PagesShowEverybodyOnce, also when candidates beyond the page are dropped
// meanwhile.
func TestSort_PagesShowEverybodyOnce(t *testing.T) {
	c := newClient(t)
	const users = 1300
	bulk := make([]string, 0, users)
	for i := range users {
		bulk = append(bulk, fmt.Sprintf(`{"method":"POST","path":"/Users","bulkId":"%d","data":{"userName":"u%04d","title":"%d"}}`, i, (i*617)%users, i%7))
		if len(bulk) == 1000 || i == users-1 {
			c.do("POST", "/Bulk", `{"Operations":[`+strings.Join(bulk, ",")+`]}`)
			bulk = nil
		}
	}
	var seen []string
	for start := 1; start <= users; start += 100 {
		_, result := c.do("GET", fmt.Sprintf("/Users?sortBy=userName&startIndex=%d&count=100&attributes=userName", start), "")
		if result["totalResults"] != float64(users) {
			t.Fatal(result["totalResults"])
		}
		seen = append(seen, names(result)...)
	}
	if len(seen) != users || !slices.IsSorted(seen) {
		t.Errorf("%d are shown, sorted: %v", len(seen), slices.IsSorted(seen))
	}
}

// walk follows the cursors to the last page and returns what is on the pages.
func (c *client) walk(path, query string) (all []string) {
	c.t.Helper()
	cursor := ""
	for pages := range 100 {
		resp, result := c.do("GET", path+"?"+query+"&cursor="+url.QueryEscape(cursor), "")
		if resp.StatusCode != http.StatusOK {
			c.t.Fatalf("page %d of %s is %v", pages, query, result)
		}
		if _, has := result["startIndex"]; has {
			c.t.Errorf("a page by cursor has a startIndex")
		}
		all = append(all, names(result)...)
		next, more := result["nextCursor"].(string)
		if !more {
			return all
		}
		cursor = next
	}
	c.t.Fatal("the cursors never end")
	return nil
}

// TestCursor: RFC 9865.
func TestCursor(t *testing.T) {
	base, token, d, _ := serveWith(t, scim.Defaults())
	c := &client{t, base, token}
	c.createUsers(7)
	for i := range 3 {
		c.do("POST", "/Groups", fmt.Sprintf(`{"displayName":"g%d"}`, i))
	}
	for _, q := range []struct {
		path, query string
		want        int
	}{
		{"/Users", "count=2", 7}, {"/Users", "count=7", 7}, {"/Users", "count=100", 7}, {"/Users", "count=1&filter=active+eq+true", 4},
		{"/Users", "count=2&sortBy=displayName&sortOrder=descending", 7}, {"/Users", "count=3&sortBy=active", 7},
		{"/", "count=2", 10}, {"/", "count=3&sortBy=displayName", 10}, {"/Groups", "count=2", 3},
	} {
		got := c.walk(q.path, q.query)
		if slices.Sort(got); len(slices.Compact(got)) != q.want {
			t.Errorf("%s?%s shows %v", q.path, q.query, got)
		}
	}
	if got := c.walk("/Users", "count=3&sortBy=userName&sortOrder=descending"); !slices.IsSortedFunc(got, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Errorf("descending is %v", got)
	}

	_, first := c.do("GET", "/Users?count=2&cursor=", "")
	next := first["nextCursor"].(string)
	if first["totalResults"] != 7.0 || first["itemsPerPage"] != 2.0 {
		t.Errorf("the first page is %v", first)
	}
	if resp, _ := c.do("GET", "/Users?count=0&cursor", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("a page of nothing: status %d", resp.StatusCode)
	}
	_, byBody := c.do("POST", "/Users/.search", `{"count":2,"cursor":""}`)
	if byBody["nextCursor"] == nil {
		t.Errorf("a search by cursor finds %v", byBody)
	}
	for query, want := range map[string]string{
		"count=3&cursor=" + next:                        "invalidCursor", // another query
		"count=2&filter=active+pr&cursor=" + next:       "invalidCursor",
		"count=2&cursor=" + next[:len(next)-2]:          "invalidCursor",
		"count=2&cursor=" + next + "AA":                 "invalidCursor",
		"count=2&cursor=x":                              "invalidCursor",
		"startIndex=2&cursor=" + next:                   "invalidCursor",
		"count=two&cursor=":                             "invalidCount",
		"count=2&cursor=" + strings.Repeat("A", 20_000): "invalidCursor",
	} {
		if resp, result := c.do("GET", "/Users?"+query, ""); resp.StatusCode != http.StatusBadRequest || result["scimType"] != want {
			t.Errorf("%.80s is answered by %v, want %s", query, result, want)
		}
	}
	_, other, err := d.mint("other", 0)
	if err != nil {
		t.Fatal(err)
	}
	if resp, result := (&client{t, base, other}).do("GET", "/Users?count=2&cursor="+next, ""); result["scimType"] != "invalidCursor" {
		t.Errorf("another's cursor: status %d %v", resp.StatusCode, result)
	}
}

// TestCursor_OutlivesChanges: a resource that exists all the time is on one page,
// whatever is created and deleted meanwhile (RFC 9865 §2).
func TestCursor_OutlivesChanges(t *testing.T) {
	c := newClient(t)
	c.createUsers(20)
	_, page := c.do("GET", "/Users?count=5&cursor=", "")
	shown := names(page)
	var goes string
	for _, one := range page["Resources"].([]any)[4:] { // the very one that the cursor stands behind
		goes = one.(map[string]any)["id"].(string)
	}
	c.do("DELETE", "/Users/"+goes, "")
	c.do("POST", "/Users", `{"userName":"late@example.com"}`)
	for cursor, more := page["nextCursor"].(string), true; more; {
		_, page = c.do("GET", "/Users?count=5&cursor="+cursor, "")
		shown = append(shown, names(page)...)
		cursor, more = page["nextCursor"].(string)
	}
	slices.Sort(shown)
	shown = slices.DeleteFunc(shown, func(name string) bool { return name == "late@example.com" })
	if before := len(shown); before != 20 || len(slices.Compact(shown)) != 20 {
		t.Errorf("%d are shown, %d of them different", before, len(slices.Compact(shown)))
	}
}

// TestRootQuery: RFC 7644 §3.4.2.1; an attribute of another type is unassigned.
func TestRootQuery(t *testing.T) {
	c := newClient(t)
	c.createUsers(2)
	c.do("POST", "/Groups", `{"displayName":"User 1"}`)
	for filter, want := range map[string]int{
		`meta.resourceType eq "Group"`:                         1,
		`displayName eq "user 1"`:                              2,
		`userName pr`:                                          2,
		`not (userName pr)`:                                    1,
		`userName sw "u1" or displayName eq "User 1"`:          2,
		`emails[type eq "work"] or members pr`:                 2,
		`emails[type eq "work"].value eq "u1@work.example"`:    1,
		`urn:ietf:params:scim:schemas:core:2.0:User:title pr`:  2,
		`meta.resourceType eq "User" and userName eq "nobody"`: 0,
		`foo pr`:  -1,
		`emails[`: -1,
	} {
		resp, result := c.do("GET", "/?filter="+url.QueryEscape(filter), "")
		if want < 0 {
			if resp.StatusCode != http.StatusBadRequest || result["scimType"] != "invalidFilter" {
				t.Errorf("%s finds %v", filter, result)
			}
		} else if result["totalResults"] != float64(want) {
			t.Errorf("%s finds %v, want %d: %v", filter, result["totalResults"], want, result["detail"])
		}
	}
	if _, result := c.do("POST", "/.search", `{"filter":"displayName eq \"user 1\"","sortBy":"userName","attributes":["displayName"]}`); result["totalResults"] != 2.0 {
		t.Errorf("a search of all types finds %v", result)
	}
	_, all := c.do("GET", "?startIndex=3&count=5", "")
	if all["totalResults"] != 3.0 || len(names(all)) != 1 {
		t.Errorf("the root finds %v", all)
	}
	_, none := c.do("GET", "/?count=0", "")
	if none["totalResults"] != 3.0 || len(names(none)) != 0 {
		t.Errorf("a count of 0 finds %v", none)
	}
}

// TestIndex_FindsWhatAScanFinds: not (not (f)) uses no index.
func TestIndex_FindsWhatAScanFinds(t *testing.T) {
	c := newClient(t)
	c.createUsers(6)
	_, page := c.do("GET", "/Users?count=6", "")
	resources := page["Resources"].([]any)
	at := func(i int) string { return "/Users/" + resources[i].(map[string]any)["id"].(string) }
	c.do("DELETE", at(0), "")
	c.do("PATCH", at(1), patch(`{"op":"replace","path":"emails[type eq \"work\"].value","value":"moved@x"}`))
	c.do("PATCH", at(2), patch(`{"op":"add","path":"emails","value":{"type":"other","value":"MOVED@x"}}`))
	long := strings.Repeat("\ufdfa", 1300) // folded, it is longer than a key may be
	if resp, result := c.do("PATCH", at(4), patch(`{"op":"replace","value":{"displayName":"`+long+`","emails":[{"value":"`+long+`"}]}}`)); resp.StatusCode != http.StatusOK {
		t.Fatal(result)
	}
	c.do("PUT", at(3), `{"userName":"renamed","externalId":"X0","emails":[{"value":"ｍoved@x","type":"work"}]}`)
	for _, attribute := range []string{"userName", "externalId", "emails", "emails.value", "displayName"} {
		for _, value := range []string{"moved@x", "u1@work.example", "U2@HOME.example", "u3@example.com", "renamed", "X0", "x0", "X1", "USER 4", "User 0", long, ""} {
			filters := []string{fmt.Sprintf("%s eq %q", attribute, value)}
			if attribute == "emails" {
				filters = append(filters, fmt.Sprintf(`emails[type eq "work"].value eq %q`, value), fmt.Sprintf(`emails[value eq %q and type eq "other"]`, value),
					fmt.Sprintf(`active pr and emails[not (type eq "work") and value eq %q]`, value), fmt.Sprintf(`emails[type eq "work" or value eq %q]`, value))
			}
			for _, f := range filters {
				search := `{"sortBy":"userName","attributes":["userName"],"filter":%q}`
				_, indexed := c.do("POST", "/Users/.search", fmt.Sprintf(search, f))
				_, read := c.do("POST", "/Users/.search", fmt.Sprintf(search, "not (not ("+f+"))"))
				if fmt.Sprint(names(indexed)) != fmt.Sprint(names(read)) {
					t.Errorf("%s finds %v, and reading everybody %v", f, names(indexed), names(read))
				}
			}
		}
	}
}

// TestPatchGroup_OfMembersKeepsTheRest: a PATCH of members alone changes nothing else of a group, also if the directory
// has an externalId that is in no document of a client.
func TestPatchGroup_OfMembersKeepsTheRest(t *testing.T) {
	base, token, d := serve(t)
	c := &client{t, base, token}
	c.createUsers(1)
	u, ok := d.Lookup("X0")
	if !ok {
		t.Fatal("the user does not exist")
	}
	g := directory.Group{DisplayName: "staff", ExternalID: "g-staff", Document: []byte(`{"displayName":"staff"}`)}
	err := d.Update(t.Context(), func(tx *directory.Tx) error { g.ID = ""; return tx.PutGroup(&g) })
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{"Add", "Remove"} {
		resp, result := c.do("PATCH", "/Groups/"+g.ID, patch(`{"op":"`+op+`","path":"members","value":[{"value":"`+u.ID+`"}]}`))
		if resp.StatusCode != http.StatusNoContent {
			t.Fatalf("%s: %v", op, result)
		}
		after, _ := d.GroupByID(g.ID)
		if want := map[string]int{"Add": 1}[op]; after.ExternalID != g.ExternalID || after.DisplayName != g.DisplayName || after.Members != want {
			t.Errorf("after %s the group is %+v", op, after)
		}
	}
}
