package scim_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"sallyport/audit"
)

// TestRecord_NamesTokenAsActor: the event of a push names the token, and from where and when the push came.
func TestRecord_NamesTokenAsActor(t *testing.T) {
	base, token, d := serve(t)
	before := time.Now().UTC()
	(&client{t, base, token}).do("POST", "/Users", `{"userName":"ada"}`)
	for rec, err := range d.Records(context.Background(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		var e audit.Event
		if err := json.Unmarshal(rec.Event, &e); err != nil {
			t.Fatal(err)
		}
		if a := e.Actor; a.Kind != audit.ActorToken || a.Name != "test" || a.ID == "" || a.ID != e.Detail["token"] || a.Address != "127.0.0.1" {
			t.Errorf("the actor is %+v", a)
		}
		if at, err := time.Parse(time.RFC3339Nano, e.Detail["received"]); err != nil || at.Before(before) || at.After(e.Time) {
			t.Errorf("received at %q (%v), and not between %s and %s", e.Detail["received"], err, before, e.Time)
		}
		return
	}
}
