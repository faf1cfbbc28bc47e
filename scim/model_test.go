package scim_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// model is the directory as plain maps.
type model struct {
	*rapid.T
	c      *client
	users  map[string]*modelUser      // by id
	groups map[string]map[string]bool // members by group
	names  map[string]string          // a group's displayName by id
	gone   []string                   // deleted IDs, which must never be used again
	missed int                        // so many of gone were looked for after their deletion; at the end all are
}

type modelUser struct {
	userName string
	active   bool
}

func (m *model) pick(ids []string) string {
	if len(ids) == 0 {
		m.Skip("nobody there")
	}
	slices.Sort(ids)
	return rapid.SampledFrom(ids).Draw(m.T, "id")
}

func (m *model) anyUser() string  { return m.pick(slices.Collect(maps.Keys(m.users))) }
func (m *model) anyGroup() string { return m.pick(slices.Collect(maps.Keys(m.groups))) }

func (m *model) send(want int, method, path, body string) map[string]any {
	resp, result := m.c.do(method, path, body)
	if resp.StatusCode != want {
		m.Fatalf("%s %s %s: status %d, want %d: %v", method, path, body, resp.StatusCode, want, result)
	}
	return result
}

func (m *model) taken(name, except string) bool {
	for id, u := range m.users {
		if id != except && strings.EqualFold(u.userName, name) {
			return true
		}
	}
	return false
}

// drawName returns one of a few names, in any case of letters, so that names collide.
func (m *model) drawName() string {
	return rapid.SampledFrom([]string{"ann", "Ann", "bob", "BOB", "cid", "dan"}).Draw(m.T, "name")
}

func (m *model) CreateUser(*rapid.T) {
	name := m.drawName()
	want := http.StatusCreated
	if m.taken(name, "") {
		want = http.StatusConflict
	}
	result := m.send(want, "POST", "/Users", fmt.Sprintf(`{"userName":%q,"active":"True"}`, name))
	if want == http.StatusCreated {
		id := result["id"].(string)
		if m.users[id] != nil || slices.Contains(m.gone, id) {
			m.Fatalf("the id %s is used again", id)
		}
		m.users[id] = &modelUser{name, true}
	}
}

func (m *model) Rename(*rapid.T) {
	id, name := m.anyUser(), m.drawName()
	if m.taken(name, id) {
		m.send(http.StatusConflict, "PATCH", "/Users/"+id, fmt.Sprintf(`{"Operations":[{"op":"Replace","path":"userName","value":%q}]}`, name))
		return
	}
	m.send(http.StatusOK, "PATCH", "/Users/"+id, fmt.Sprintf(`{"Operations":[{"op":"replace","value":{"userName":%q}}]}`, name))
	m.users[id].userName = name
}

func (m *model) Switch(*rapid.T) {
	id, active := m.anyUser(), rapid.Bool().Draw(m.T, "active")
	shape := rapid.SampledFrom([]string{`{"op":"Replace","path":"active","value":%v}`, `{"op":"Add","path":"active","value":"%v"}`,
		`{"op":"replace","value":{"active":%v}}`, `{"op":"Replace","path":"active","value":[{"$ref":null,"value":"%v"}]}`}).Draw(m.T, "shape")
	m.send(http.StatusOK, "PATCH", "/Users/"+id, `{"Operations":[`+fmt.Sprintf(shape, active)+`]}`)
	m.users[id].active = active
}

func (m *model) ReplaceUser(*rapid.T) {
	id := m.anyUser()
	m.send(http.StatusOK, "PUT", "/Users/"+id, fmt.Sprintf(`{"userName":%q,"title":"t"}`, m.users[id].userName)) // says nothing of active
}

func (m *model) DeleteUser(*rapid.T) {
	id := m.anyUser()
	m.send(http.StatusNoContent, "DELETE", "/Users/"+id, "")
	delete(m.users, id)
	m.forget(id)
}

func (m *model) forget(id string) {
	for _, members := range m.groups {
		delete(members, id)
	}
	m.gone = append(m.gone, id)
}

func (m *model) CreateGroup(*rapid.T) {
	name := m.drawName()
	for _, had := range m.names {
		if strings.EqualFold(had, name) {
			m.send(http.StatusConflict, "POST", "/Groups", fmt.Sprintf(`{"displayName":%q}`, name))
			return
		}
	}
	id := m.send(http.StatusCreated, "POST", "/Groups", fmt.Sprintf(`{"displayName":%q}`, name))["id"].(string)
	m.groups[id], m.names[id] = map[string]bool{}, name
}

func (m *model) DeleteGroup(*rapid.T) {
	id := m.anyGroup()
	m.send(http.StatusNoContent, "DELETE", "/Groups/"+id, "")
	delete(m.groups, id)
	delete(m.names, id)
	m.forget(id)
}

// Members changes a group's members in one of the ways that clients do; unknown IDs
// are ignored.
func (m *model) Members(*rapid.T) {
	group := m.anyGroup()
	all := append(slices.Sorted(maps.Keys(m.users)), slices.Sorted(maps.Keys(m.groups))...)
	all = append(all, m.gone...)
	all = slices.DeleteFunc(all, func(id string) bool { return id == group })
	if len(all) == 0 {
		m.Skip("nobody there")
	}
	ids := rapid.SliceOfN(rapid.SampledFrom(all), 1, 4).Draw(m.T, "ids")
	var list []string
	for _, id := range ids {
		list = append(list, fmt.Sprintf(`{"$ref":null,"value":%q}`, id))
	}
	value := "[" + strings.Join(list, ",") + "]"
	members := m.groups[group]
	way := rapid.SampledFrom([]string{"add", "remove listed", "remove by path", "replace", "clear", "put", "remove then add"}).Draw(m.T, "way")
	operations := ""
	switch way {
	case "add":
		operations = `{"op":"Add","path":"members","value":` + value + `}`
	case "remove listed":
		operations = `{"op":"Remove","path":"members","value":` + value + `}`
	case "remove by path":
		ids = ids[:1]
		operations = `{"op":"remove","path":"members[value eq \"` + ids[0] + `\"]"}`
	case "replace":
		operations = `{"op":"replace","path":"members","value":` + value + `}`
	case "clear":
		operations = `{"op":"Remove","path":"members"}`
	case "remove then add":
		operations = `{"op":"remove","path":"members"},{"op":"add","value":{"members":` + value + `}}`
	case "put":
		m.send(http.StatusOK, "PUT", "/Groups/"+group, fmt.Sprintf(`{"displayName":%q,"members":%s}`, m.names[group], value))
	}
	if operations != "" {
		m.send(http.StatusNoContent, "PATCH", "/Groups/"+group, `{"Operations":[`+operations+`]}`)
	}
	if way == "replace" || way == "clear" || way == "put" || way == "remove then add" {
		clear(members)
	}
	for _, id := range ids {
		switch {
		case way == "clear":
		case strings.HasPrefix(way, "remove ") && way != "remove then add":
			delete(members, id)
		case !slices.Contains(m.gone, id):
			members[id] = true
		}
	}
}

// A wrong operation among good ones changes nothing.
func (m *model) Wrong(*rapid.T) {
	id := m.anyUser()
	m.send(http.StatusBadRequest, "PATCH", "/Users/"+id, `{"Operations":[{"op":"replace","path":"active","value":true},{"op":"replace","path":"userName","value":"zoe"},{"op":"replace","path":"active","value":"perhaps"}]}`)
}

// Check compares everything that can be read.
func (m *model) Check(t *rapid.T) {
	list := m.send(http.StatusOK, "GET", "/Users?count=1000", "")
	if list["totalResults"] != float64(len(m.users)) {
		t.Fatalf("there are %v users, want %d", list["totalResults"], len(m.users))
	}
	for _, one := range list["Resources"].([]any) {
		m.checkUser(one.(map[string]any))
	}
	for id, want := range m.groups {
		group := m.send(http.StatusOK, "GET", "/Groups/"+id, "")
		if got := ids(group["members"]); !maps.Equal(got, want) {
			t.Fatalf("group %s has %v, want %v", m.names[id], got, want)
		}
	}
	if list = m.send(http.StatusOK, "GET", "/Groups?count=1000&attributes=id", ""); list["totalResults"] != float64(len(m.groups)) {
		t.Fatalf("there are %v groups, want %d", list["totalResults"], len(m.groups))
	}
	if len(m.gone) > m.missed {
		m.checkGone(m.gone[m.missed:])
		m.missed = len(m.gone)
	}
}

// checkGone checks that IDs are of no user and of no group.
func (m *model) checkGone(ids []string) {
	for _, id := range ids {
		m.send(http.StatusNotFound, "GET", "/Users/"+id, "")
		m.send(http.StatusNotFound, "GET", "/Groups/"+id, "")
	}
}

func (m *model) checkUser(u map[string]any) {
	id := u["id"].(string)
	want := m.users[id]
	if want == nil || u["userName"] != want.userName || u["active"] != want.active {
		m.Fatalf("a user is %v, want %+v", u, want)
	}
	in := map[string]bool{}
	for group, members := range m.groups {
		if members[id] {
			in[group] = true
		}
	}
	if got := ids(u["groups"]); !maps.Equal(got, in) {
		m.Fatalf("%s is in %v, want %v", want.userName, got, in)
	}
	if found := m.send(http.StatusOK, "GET", "/Users?filter="+url.QueryEscape(`userName eq "`+strings.ToUpper(want.userName)+`"`), ""); found["totalResults"] != 1.0 {
		m.Fatalf("a search finds %v", found)
	}
}

func ids(list any) map[string]bool {
	set := map[string]bool{}
	elements, _ := list.([]any)
	for _, one := range elements {
		set[one.(map[string]any)["value"].(string)] = true
	}
	return set
}

// TestServer_BehavesAsAMap: whatever is done over HTTP, in whatever order, a client reads
// what a plain map would hold.
func TestServer_BehavesAsAMap(t *testing.T) {
	base, token, _, _ := serveWith(t, settingsWithoutLimit)
	rapid.Check(t, func(rt *rapid.T) {
		c := &client{t, base, token}
		c.empty()
		m := &model{rt, c, map[string]*modelUser{}, map[string]map[string]bool{}, map[string]string{}, nil, 0}
		rt.Repeat(map[string]func(*rapid.T){
			"": m.Check, "CreateUser": m.CreateUser, "Rename": m.Rename, "Switch": m.Switch, "ReplaceUser": m.ReplaceUser, "DeleteUser": m.DeleteUser,
			"CreateGroup": m.CreateGroup, "DeleteGroup": m.DeleteGroup, "Members": m.Members, "Wrong": m.Wrong,
		})
		m.checkGone(m.gone)
	})
}

// empty deletes everything.
func (c *client) empty() {
	for _, path := range []string{"/Users", "/Groups"} {
		_, all := c.do("GET", path+"?count=1000&attributes=id", "")
		for _, one := range all["Resources"].([]any) {
			c.do("DELETE", path+"/"+one.(map[string]any)["id"].(string), "")
		}
	}
}

// TestMembers_ConcurrentChangesAreSerializable, a thousand times: many clients
// change one group at once. Each member is changed by one client alone, so this
// client's last change must hold.
func TestMembers_ConcurrentChangesAreSerializable(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 50
	}
	c := newClient(t)
	const clients = 6
	users := make([]string, clients)
	for i := range users {
		_, u := c.do("POST", "/Users", fmt.Sprintf(`{"userName":"u%d"}`, i))
		users[i] = u["id"].(string)
	}
	_, group := c.do("POST", "/Groups", `{"displayName":"g"}`)
	path := "/Groups/" + group["id"].(string)
	for round := range rounds {
		want := map[string]bool{}
		last := make([]bool, clients)
		var all sync.WaitGroup
		for i, id := range users {
			all.Go(func() {
				for range 1 + rand.IntN(3) {
					op := "Remove"
					if last[i] = rand.IntN(2) == 0; last[i] {
						op = "Add"
					}
					c.do("PATCH", path, fmt.Sprintf(`{"Operations":[{"op":%q,"path":"members","value":[{"value":%q}]}]}`, op, id))
				}
			})
		}
		all.Wait()
		for i, id := range users {
			if last[i] {
				want[id] = true
			}
		}
		_, after := c.do("GET", path, "")
		if got := ids(after["members"]); !maps.Equal(got, want) {
			t.Fatalf("round %d leaves %v, want %v", round, got, want)
		}
	}
}
