package access_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sallyport/access"
	"sallyport/directory"
)

// TestCountReach_CountsWhomWhoLists: the numbers are those of the list of everybody, and so is the picture.
func TestCountReach_CountsWhomWhoLists(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, people, s := someRoute(t), append(somePeople(t), boss), access.Scope{Time: now, Organization: managedBy{boss}}
		want, users := access.Count{Route: r.Name}, []string(nil)
		for _, reach := range access.Who([]*access.Route{r}, people, s) {
			switch reach.Kind {
			case "anyone":
				want.Anyone = true
			case "application":
				want.Apps = append(want.Apps, reach.Name)
			default:
				want.Users++
				users = append(users, reach.ID)
			}
		}
		got, err := access.CountReach(context.Background(), []*access.Route{r}, people, s)
		fatal(t, err)
		drawn, err := access.Draw(context.Background(), r, people, nil, s)
		fatal(t, err)
		for _, count := range []access.Count{got[0], drawn.Count} {
			if count.Users != want.Users || count.Anyone != want.Anyone || !slices.Equal(count.Apps, want.Apps) {
				t.Fatalf("%+v, want %+v", count, want)
			}
		}
		for i, u := range drawn.People {
			if u.ID != users[i] {
				t.Fatalf("person %d of the picture is %s, want %s", i, u.ID, users[i])
			}
		}
	})
}

// TestDiffAtMost_CountsWhomDiffLists: the numbers are right, whatever the limit of the names.
func TestDiffAtMost_CountsWhomDiffLists(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after, people := []*access.Route{someRoute(t)}, []*access.Route{someRoute(t)}, append(somePeople(t), boss)
		s, limit := access.Scope{Time: now, Organization: managedBy{boss}}, rapid.IntRange(0, 4).Draw(t, "limit")
		want := access.Diff(before, after, people, s)
		got, err := access.DiffAtMost(context.Background(), limit, before, after, people, s)
		fatal(t, err)
		if len(got) != len(want) {
			t.Fatalf("%+v, want %+v", got, want)
		}
		for i, c := range got {
			if c.Moved != want[i].Moved || c.GainedCount != len(want[i].Gained) || c.LostCount != len(want[i].Lost) || c.ChangedCount != len(want[i].Changed) {
				t.Fatalf("%+v, want %+v", c, want[i])
			}
			for _, pair := range [][2][]string{{c.Gained, want[i].Gained}, {c.Lost, want[i].Lost}, {c.Changed, want[i].Changed}} {
				if len(pair[0]) != min(limit, len(pair[1])) || slices.ContainsFunc(pair[0], func(name string) bool { return !slices.Contains(pair[1], name) }) {
					t.Fatalf("%q with limit %d, want some of %q", pair[0], limit, pair[1])
				}
			}
		}
	})
}

// TestDraw_CountsPeopleOfGroups: a person in two groups is counted on both edges, and once as a person; whoever no membership
// lets in belongs to no group.
func TestDraw_CountsPeopleOfGroups(t *testing.T) {
	r := route(t, "app", `[{allow: {groups: [{id: A}, {id: B}]}}, {allow: {all_groups: [{id: A}, {id: C}]}}, {allow: {users: [eve@example.com]}}, {deny: {methods: [DELETE], unless_groups: [{id: A}]}}]`)
	groups := []directory.Group{{ID: "1", ExternalID: "A", DisplayName: "Alpha", Members: 2}, {ID: "2", ExternalID: "B", DisplayName: "Beta", Members: 1}, {ID: "3", ExternalID: "C", DisplayName: "Gamma", Members: 9}}
	people := []*directory.User{person("ada", "A", "B", "C"), person("bob", "A"), person("eve"), person("out")}
	p, err := access.Draw(t.Context(), r, people, groups, access.Scope{Time: now})
	fatal(t, err)
	if p.Users != 3 || len(p.Rules) != 4 {
		t.Errorf("%d people, rules %+v", p.Users, p.Rules)
	}
	if found := p.Named("ADA@"); len(found) != 1 || found[0] != people[0] {
		t.Errorf("%d people are called ada@", len(found))
	}
	if found := p.Named("out"); len(found) > 0 {
		t.Errorf("who does not reach the route is found: %v", found)
	}
	var got []access.PictureEdge
	got = append(got, p.Edges...)
	want := []access.PictureEdge{{"1", "p[0]", 2}, {"1", "p[1]", 1}, {"", "p[2]", 1}, {"2", "p[0]", 1}}
	if !slices.Equal(got, want) {
		t.Errorf("the edges are %+v, want %+v", got, want)
	}
	if rule := p.Rules[3]; rule.Effect != "deny" || rule.Users != 1 {
		t.Errorf("the rule that keeps eve out of a part is %+v", rule)
	}
}

// TestCountReach_EndsWithItsContext: what a page has begun does not go on without end.
func TestCountReach_EndsWithItsContext(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	routes, people, s := []*access.Route{route(t, "app", `[{allow: {groups: [{id: A}]}}]`)}, []*directory.User{person("ada", "A")}, access.Scope{Time: now}
	_, counting := access.CountReach(ctx, routes, people, s)
	_, drawing := access.Draw(ctx, routes[0], people, nil, s)
	_, comparing := access.DiffAtMost(ctx, 1, routes, nil, people, s)
	for _, err := range []error{counting, drawing, comparing} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
	}
}
