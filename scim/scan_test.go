package scim_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"sallyport/directory"
	"sallyport/scim"
	"sallyport/scim/internal/schema"
	"sallyport/store/bolt"
)

const searchedURN = "urn:ietf:params:scim:schemas:extension:searched:2.0:User"

// searched is a tenant whose users and groups are searched, and how a server would find them that reads everybody.
type searched struct {
	*client
	types  schema.Types
	tenant *tenant
}

func newSearched(t *testing.T) *searched {
	settings := settingsWithoutLimit
	settings.Extensions = []scim.Extension{{URN: searchedURN, Attributes: []scim.Attribute{{Name: "floor", Type: "integer"}, {Name: "rate", Type: "decimal"},
		{Name: "contractor", Type: "boolean"}, {Name: "since", Type: "dateTime"}, {Name: "sites", Multi: true}, {Name: "key", CaseExact: true}, {Name: "page", Type: "reference"}}}}
	base, token, tenant, _ := serveWith(t, settings)
	c := &client{t, base, token}
	var declared map[string]any
	_, declared = c.do("GET", "/Schemas/"+searchedURN, "")
	extension := schema.Schema{URN: searchedURN}
	for _, a := range declared["attributes"].([]any) {
		a := a.(map[string]any)
		exact, _ := a["caseExact"].(bool)
		multi, _ := a["multiValued"].(bool)
		extension.Attributes = append(extension.Attributes, schema.Attribute{Name: a["name"].(string), Type: schema.DataType(a["type"].(string)), MultiValued: multi, CaseExact: exact})
	}
	return &searched{c, schema.New(directory.Fold, extension), tenant}
}

// get returns the resources of a page, their number, and the cursor of the next one.
func (s *searched) get(t *rapid.T, path string) (resources []map[string]any, total int, next string) {
	req, err := http.NewRequest("GET", s.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v, %d %s", path, err, resp.StatusCode, text)
	}
	body, err := schema.Decode(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	for _, r := range body["Resources"].([]any) {
		resources = append(resources, r.(map[string]any))
	}
	count, err := body["totalResults"].(json.Number).Int64()
	if err != nil {
		t.Fatal(err)
	}
	next, _ = body["nextCursor"].(string)
	return resources, int(count), next
}

// expected returns what a query finds by reading every document.
func (s *searched) expected(t *rapid.T, kinds []*schema.ResourceType, filter, sortBy string, descending bool) (found []map[string]any) {
	type result struct {
		key      schema.SortKey
		kind     int
		resource map[string]any
	}
	var results []result
	for k, kind := range kinds {
		all, _, _ := s.get(t, "/"+kind.Endpoint+"?count=1000")
		f, err := schema.ParseFilter(kind, kinds, filter, nil)
		if err != nil {
			t.Fatal(err)
		}
		var order *schema.Path
		if sortBy != "" {
			if order, err = schema.ParseSortBy(kind, kinds, sortBy, nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range all {
			subject := &schema.Subject{Document: r}
			if kind == s.types.Group {
				subject.IsMember, subject.Members = membersIn(r)
			}
			if ok, err := f.Matches(subject); err != nil {
				t.Fatal(err)
			} else if ok {
				results = append(results, result{order.SortKey(&schema.Subject{Document: r}), k, r})
			}
		}
	}
	slices.SortFunc(results, func(a, b result) int {
		c := a.key.Compare(b.key)
		if descending {
			c = -c
		}
		return cmp.Or(c, a.kind-b.kind, strings.Compare(a.resource["id"].(string), b.resource["id"].(string)))
	})
	for _, r := range results {
		found = append(found, r.resource)
	}
	return found
}

func membersIn(group map[string]any) (func(string) (bool, error), iter.Seq2[map[string]any, error]) {
	list, _ := group["members"].([]any)
	isMember := func(id string) (bool, error) {
		return slices.ContainsFunc(list, func(m any) bool { return m.(map[string]any)["value"] == id }), nil
	}
	return isMember, func(yield func(map[string]any, error) bool) {
		for _, m := range list {
			if !yield(m.(map[string]any), nil) {
				return
			}
		}
	}
}

// texts are values that are searched, and parts of them.
var texts = []string{"", "a", "A", "ann", "ANN", "Ann Lee", "ann@x.example", "ANN@X.example", "Zoë", "zoe", "ZOË", "ＡＮＮ", "straße", "STRASSE", "\u212a", "k", "ſ", "s",
	`say "ann"`, `back\slash`, "<a&b>", `"nickName":"ann"`, "nickName", "emails", "value", "work", "home", "\u2028", "true", "3", "tab\tann", "😀", "2026-01-02T03:04:05Z"}

func drawText(t *rapid.T) string { return rapid.SampledFrom(texts).Draw(t, "text") }

// drawDocument returns the attributes of a user, but for the userName.
func drawDocument(t *rapid.T) map[string]any {
	out := map[string]any{}
	maybe := func(in map[string]any, name string, value func() any) {
		if rapid.IntRange(0, 2).Draw(t, "has "+name) == 0 {
			in[name] = value()
		}
	}
	text := func() any { return drawText(t) }
	for _, name := range []string{"displayName", "nickName", "title", "userType", "locale", "externalId", "profileUrl"} {
		maybe(out, name, text)
	}
	maybe(out, "active", func() any { return rapid.Bool().Draw(t, "active") })
	maybe(out, "name", func() any { return map[string]any{"givenName": drawText(t), "formatted": drawText(t)} })
	for _, name := range []string{"emails", "phoneNumbers", "roles"} {
		maybe(out, name, func() any {
			list := []any{}
			for i := range rapid.IntRange(0, 3).Draw(t, "how many") {
				list = append(list, map[string]any{"value": drawText(t), "type": []string{"work", "home", "other"}[i], "primary": i == 1})
			}
			return list
		})
	}
	maybe(out, "addresses", func() any {
		return []any{map[string]any{"type": "work", "country": drawText(t), "formatted": drawText(t)}}
	})
	maybe(out, schema.EnterpriseURN, func() any {
		return map[string]any{"department": drawText(t), "employeeNumber": drawText(t), "manager": map[string]any{"value": drawText(t)}}
	})
	maybe(out, searchedURN, func() any {
		in := map[string]any{}
		maybe(in, "floor", func() any { return rapid.IntRange(1, 4).Draw(t, "floor") })
		maybe(in, "rate", func() any { return 1.5 })
		maybe(in, "contractor", func() any { return rapid.Bool().Draw(t, "contractor") })
		maybe(in, "since", func() any {
			return rapid.SampledFrom([]string{"2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00", "2027-01-02T03:04:05Z"}).Draw(t, "since")
		})
		maybe(in, "sites", func() any { return []any{drawText(t), drawText(t)} })
		maybe(in, "key", text)
		maybe(in, "page", text)
		return in
	})
	return out
}

// putUser creates a user, as a client does or with a document that no client can store, or changes one.
func (s *searched) putUser(t *rapid.T, name string) {
	document := drawDocument(t)
	document["userName"] = name
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	if rapid.IntRange(0, 3).Draw(t, "odd") > 0 {
		if resp, body := s.do("POST", "/Users", string(text)); resp.StatusCode != http.StatusCreated {
			t.Fatalf("%s: %v", text, body)
		}
		return
	}
	if rapid.Bool().Draw(t, "other types") {
		for _, name := range []string{"displayName", "nickName", "phoneNumbers", "roles", "active", "title", schema.EnterpriseURN} {
			if rapid.Bool().Draw(t, name) {
				document[name] = rapid.SampledFrom([]any{nil, 7, true, "text", []any{}, []any{"ann", nil, map[string]any{"value": "ANN"}}, map[string]any{}, map[string]any{"value": "ann"}}).Draw(t, "value")
			}
		}
		if text, err = json.Marshal(document); err != nil {
			t.Fatal(err)
		}
	}
	text = []byte(strings.ReplaceAll(string(text), `"nickName":`, rapid.SampledFrom([]string{`"nickName":`, `"nick\u004eame":`, `"nickName":"first","nickName":`}).Draw(t, "spelling")))
	external, _ := document["externalId"].(string)
	err = s.tenant.Update(s.t.Context(), func(tx *directory.Tx) error {
		return tx.PutUser(&directory.User{UserName: name, ExternalID: external, Active: document["active"] == true, Document: text})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// attributesSearched are by what users are searched, with operators that they have.
var attributesSearched = func() map[string]string {
	const text, equal, order = "eq ne co sw ew gt ge lt le pr", "eq ne pr", "eq ne gt ge lt le pr"
	out := map[string]string{"active": equal, searchedURN + ":contractor": equal, searchedURN + ":floor": order, searchedURN + ":rate": order, searchedURN + ":since": order,
		"meta.created": order, "name": "pr", "emails": text, schema.EnterpriseURN: "pr", searchedURN: "pr", "emails.primary": equal, "schemas": text, "meta.resourceType": text}
	for _, name := range []string{"id", "userName", "displayName", "nickName", "title", "externalId", "profileUrl", "name.givenName", "emails.value", "emails.type", "phoneNumbers", "roles.value",
		"addresses.country", "department", schema.EnterpriseURN + ":manager", "manager.value", searchedURN + ":sites", searchedURN + ":key", searchedURN + ":page", "groups", "groups.value",
		"groups.display", "members", "members.value", "members.type"} {
		out[name] = text
	}
	return out
}()

// drawFilter returns a filter. names are ids that there are.
func drawFilter(t *rapid.T, kinds []*schema.ResourceType, ids []string, depth int) string {
	if depth > 0 {
		switch rapid.IntRange(0, 6).Draw(t, "form") {
		case 0:
			return drawFilter(t, kinds, ids, depth-1) + " and " + drawFilter(t, kinds, ids, depth-1)
		case 1:
			return drawFilter(t, kinds, ids, depth-1) + " or " + drawFilter(t, kinds, ids, depth-1)
		case 2:
			return "not (" + drawFilter(t, kinds, ids, depth-1) + ")"
		case 3:
			return "(" + drawFilter(t, kinds, ids, depth-1) + ")"
		}
	}
	for {
		name := rapid.SampledFrom(slices.Sorted(maps.Keys(attributesSearched))).Draw(t, "attribute")
		comparison := func(name, operators string) string {
			op := rapid.SampledFrom(strings.Fields(operators)).Draw(t, "operator")
			if op == "pr" {
				return name + " pr"
			}
			return name + " " + op + " " + drawOperand(t, ids)
		}
		filter := comparison(name, attributesSearched[name])
		if list, sub, ok := strings.Cut(name, "."); ok && (list == "emails" || list == "members" || list == "groups") && rapid.Bool().Draw(t, "value filter") {
			join := rapid.SampledFrom([]string{" and ", " or "}).Draw(t, "join")
			filter = list + "[" + comparison(sub, attributesSearched[name]) + join + comparison("type", "eq ne co pr") + "]"
			if rapid.Bool().Draw(t, "behind") {
				filter += ".value eq " + drawOperand(t, ids)
			}
		}
		if !slices.ContainsFunc(kinds, func(k *schema.ResourceType) bool {
			_, err := schema.ParseFilter(k, kinds, filter, nil)
			return err != nil
		}) {
			return filter
		}
	}
}

func drawOperand(t *rapid.T, ids []string) string {
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		return "null"
	case 1:
		return rapid.SampledFrom([]string{"true", "false", "3", "1.5"}).Draw(t, "literal")
	case 2:
		return `"` + rapid.SampledFrom(ids).Draw(t, "id") + `"`
	case 3:
		return `"` + rapid.SampledFrom([]string{"user1", "USER2", "user", "group", "2026-01-02T03:04:05Z", "User", "work"}).Draw(t, "name") + `"`
	}
	text, _ := json.Marshal(drawText(t))
	return string(text)
}

// TestFilter_FindsWhatReadingEverybodyFinds: whatever is searched by, and however it is found, the pages are those of a server
// that reads every document and evaluates the filter on it.
func TestFilter_FindsWhatReadingEverybodyFinds(t *testing.T) {
	s := newSearched(t)
	users := 0
	rapid.Check(t, func(t *rapid.T) {
		for more := rapid.IntRange(0, 3).Draw(t, "more users"); more > 0 || users < 100; more-- { // more than are looked at at once
			users++
			s.putUser(t, fmt.Sprintf("%s user%d", drawText(t), users))
			if users > 150 {
				oldest, _, _ := s.get(t, "/Users?count=1&sortBy=meta.created")
				s.do("DELETE", "/Users/"+oldest[0]["id"].(string), "")
			}
		}
		kinds := rapid.SampledFrom([][]*schema.ResourceType{{s.types.User}, {s.types.User}, {s.types.User}, {s.types.Group}, s.types.All()}).Draw(t, "kinds")
		all, _, _ := s.get(t, "/?count=1000")
		ids := []string{"nobody"}
		for _, r := range all {
			ids = append(ids, r["id"].(string))
		}
		if rapid.IntRange(0, 3).Draw(t, "group") == 0 && len(ids) < 300 {
			members, _ := json.Marshal([]any{map[string]any{"value": rapid.SampledFrom(ids).Draw(t, "member")}, map[string]any{"value": rapid.SampledFrom(ids).Draw(t, "member")}})
			name, _ := json.Marshal(fmt.Sprintf("%s group%d", drawText(t), len(ids)))
			s.do("POST", "/Groups", fmt.Sprintf(`{"displayName":%s,"externalId":%q,"members":%s}`, name, rapid.SampledFrom([]string{"", fmt.Sprint("g", len(ids))}).Draw(t, "externalId"), members))
		}
		filter := drawFilter(t, kinds, ids, 3)
		sortBy := rapid.SampledFrom([]string{"", "", "userName", "displayName", "title", "emails", "name.givenName", "active", "meta.lastModified", "department", "id"}).Draw(t, "sortBy")
		for _, kind := range kinds {
			if _, err := schema.ParseSortBy(kind, kinds, sortBy, nil); err != nil {
				sortBy = ""
			}
		}
		descending := rapid.Bool().Draw(t, "descending")
		want := s.expected(t, kinds, filter, sortBy, descending)

		query := url.Values{"filter": {filter}}
		if sortBy != "" {
			query.Set("sortBy", sortBy)
			if descending {
				query.Set("sortOrder", "descending")
			}
		} else if descending {
			want = s.expected(t, kinds, filter, "", false)
		}
		path := "/"
		if len(kinds) == 1 {
			path += kinds[0].Endpoint
		}
		if rapid.Bool().Draw(t, "by cursor") {
			query.Set("count", fmt.Sprint(max(3, len(want)/3)))
			for cursor, first := "", true; first || cursor != ""; first = false {
				query.Set("cursor", cursor)
				got, total, next := s.get(t, path+"?"+query.Encode())
				checkPage(t, query, got, total, want[:min(len(want), len(got))], total)
				want, cursor = want[len(got):], next
			}
			if len(want) > 0 {
				t.Fatalf("%v does not find %v", query, want)
			}
			return
		}
		start, count := rapid.IntRange(1, 60).Draw(t, "startIndex"), rapid.IntRange(0, 60).Draw(t, "count")
		query.Set("startIndex", fmt.Sprint(start))
		query.Set("count", fmt.Sprint(count))
		got, total, _ := s.get(t, path+"?"+query.Encode())
		page := want[min(start-1, len(want)):]
		checkPage(t, query, got, total, page[:min(count, len(page))], len(want))
	})
}

func checkPage(t *rapid.T, query url.Values, got []map[string]any, total int, want []map[string]any, wantTotal int) {
	if total != wantTotal || len(got) != len(want) {
		t.Fatalf("%v finds %d, %d of them on the page; reading everybody finds %d, %d", query, total, len(got), wantTotal, len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("%v finds %v, and reading everybody %v", query, got[i], want[i])
		}
	}
}

// TestFilter_IsAboutOneTime: a filter looks at all users as they are at one time. One transaction after the other renames a user
// and names another by the name that is free; whenever it is asked, exactly one has it.
func TestFilter_IsAboutOneTime(t *testing.T) {
	s := newSearched(t)
	var ids [2]string
	for i := range ids {
		_, u := s.do("POST", "/Users", fmt.Sprintf(`{"userName":"u%d","nickName":"n%d"}`, i, i))
		ids[i] = u["id"].(string)
	}
	done := make(chan error)
	go func() {
		defer close(done)
		for n := range 300 {
			err := s.tenant.Update(t.Context(), func(tx *directory.Tx) error {
				for i, id := range ids {
					u, err := tx.User(id)
					if err != nil {
						return err
					}
					u.Document = fmt.Appendf(nil, `{"userName":"u%d","nickName":"n%d"}`, i, (n+i)%2)
					if err := tx.PutUser(&u); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				done <- err
				return
			}
		}
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		_, result := s.do("GET", "/Users?filter="+url.QueryEscape(`nickName eq "n1"`), "")
		if result["totalResults"] != 1.0 {
			t.Fatalf("%v users have the name", result["totalResults"])
		}
	}
}

// TestFilter_FindsEveryEarlierChange: what a client was told is found by its next query.
func TestFilter_FindsEveryEarlierChange(t *testing.T) {
	c := newClient(t)
	_, u := c.do("POST", "/Users", `{"userName":"u"}`)
	for n := range 50 {
		name := fmt.Sprintf("n%d", n)
		c.do("PATCH", "/Users/"+u["id"].(string), patch(`{"op":"replace","path":"nickName","value":"`+name+`"}`))
		if _, result := c.do("GET", "/Users?filter="+url.QueryEscape(`nickName eq "`+name+`"`), ""); result["totalResults"] != 1.0 {
			t.Fatalf("%s is not found: %v", name, result)
		}
	}
}

// TestFilter_ReadsTheStoreIfMemoryIsDamaged: a user with a damaged membership is found as the store has them, and a group whose
// record cannot be read is an error.
func TestFilter_ReadsTheStoreIfMemoryIsDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	st, err := bolt.Open(path, bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	d := openTenant(t, st)
	running, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { _ = d.Directory.Run(running) }()
	err = d.Update(t.Context(), func(tx *directory.Tx) error {
		u := directory.User{UserName: "ann", Active: true, Document: []byte(`{"userName":"ann","nickName":"annie"}`)}
		g := directory.Group{DisplayName: "staff", Document: []byte(`{"displayName":"staff"}`)}
		if err := errors.Join(tx.PutUser(&u), tx.PutGroup(&g)); err != nil {
			return err
		}
		_, err := tx.AddMembers(g.ID, []string{u.ID})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	flipBit(t, path, "group/")
	if st, err = bolt.Open(path, bolt.Options{}); err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	d = openTenant(t, st)
	running, stop = context.WithCancel(t.Context())
	defer stop()
	go func() { _ = d.Provisioning.Run(running) }()
	_, token, err := d.mint("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	server := scim.New(scim.Parts{Provisioning: d.Provisioning, Settings: scim.Defaults(), Log: slog.New(slog.DiscardHandler)})
	for query, want := range map[string]string{
		"/Users?excludedAttributes=groups&filter=" + url.QueryEscape(`nickName eq "annie"`): `"totalResults":1`,
		"/Groups?filter=" + url.QueryEscape(`displayName co "staff"`):                       `"status":"500"`,
	} {
		r, w := httptest.NewRequest("GET", "/scim/v2"+query, nil), httptest.NewRecorder()
		r.Header.Set("Authorization", "Bearer "+token)
		if server.ServeHTTP(w, r); !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %s", query, w.Body)
		}
	}
}

// flipBit damages the first record whose key begins with prefix.
func flipBit(t *testing.T, path, prefix string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		data := tx.Bucket([]byte("data"))
		key, value := data.Cursor().Seek([]byte(prefix))
		damaged := bytes.Clone(value)
		damaged[len(damaged)-1] ^= 1
		return data.Put(bytes.Clone(key), damaged)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}
