package config

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestSuggest(t *testing.T) {
	known := []string{"lifetime", "idle", "idol"}
	for key, want := range map[string]string{
		"idl":         "write idle", // the first of two that are as similar
		"lifetim":     "write lifetime",
		"lifexxx":     "the keys here are lifetime, idle, idol", // four letters differ
		"lifetxxx":    "write lifetime",                         // three differ
		"max_session": "the keys here are lifetime, idle, idol",
	} {
		if got := suggest(key, known); got != want {
			t.Errorf("for %s: %q, want %q", key, got, want)
		}
	}
}

func TestLineOf(t *testing.T) {
	for text, want := range map[string]int{"yaml: line 17: no mapping": 17, "yaml: line 99999999999999999999: no mapping": 1, "no line": 1} {
		if got := lineOf(errors.New(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestDecoder_NearestPosition(t *testing.T) {
	d := &decoder{positions: map[string]position{"a": {2, 1}, "a.b": {3, 3}, "list[1]": {5, 7}}}
	for path, want := range map[string]position{
		"a.b": {3, 3}, "a.b.c": {3, 3}, "a.x": {2, 1}, "list[1].name": {5, 7}, "list[0]": {1, 1}, "x.y.z": {1, 1}, "": {1, 1}, "[0]": {1, 1},
	} {
		if got := d.nearestPosition(path); got != want {
			t.Errorf("%q: %v, want %v", path, got, want)
		}
	}
}

func TestDecoder_SortsFaultsByPosition(t *testing.T) {
	d := &decoder{}
	for _, pos := range []position{{3, 1}, {1, 9}, {1, 2}, {12, 1}, {3, 1}} {
		d.faultAt(pos, "", "x")
	}
	last := start
	for i, f := range d.sorted() {
		if f.Line < last.line || f.Line == last.line && f.Col < last.col {
			t.Errorf("fault %d is at %d:%d, after %d:%d", i, f.Line, f.Col, last.line, last.col)
		}
		last = position{f.Line, f.Col}
	}
}

func TestJoin(t *testing.T) {
	for _, c := range [][3]string{{"store", "", "store"}, {"store", "bolt", "store.bolt"}, {"routes", "[0].name", "routes[0].name"}, {"a", ".b", "a.b"}} {
		if got := join(c[0], c[1]); got != c[2] {
			t.Errorf("join(%q, %q) is %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestBeginsKey(t *testing.T) {
	for line, want := range map[string]bool{"audit:": true, "zone:": true, "Audit:": true, "Zone:": true, "_x:": true,
		" audit:": false, "- audit": false, "#": false, "\n": false, "{": false, "`": false, "@": false, "[": false, "0": false} {
		if got := beginsKey([]byte(line)); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}

func TestSchema_DescribesKeys(t *testing.T) {
	data, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties map[string]struct{ Description string }
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	if got := schema.Properties["store"].Description; got != "where users, groups and sessions are stored" {
		t.Errorf("store is described as %q", got)
	}
}
