package manage_test

import (
	"errors"
	"testing"
	"time"

	"sallyport/admin"
)

func TestSearchRecordFor_GoesOnUntilItHasAll(t *testing.T) {
	e := newEnv(t)
	e.writeDecisions(321)
	const want = 300
	found, err := e.admin.SearchRecordFor(t.Context(), admin.System("test"), admin.RecordFilter{}, want, time.Minute)
	if err != nil || len(found.Lines) != want || found.Next == "" {
		t.Fatalf("%d lines, and next %q: %v", len(found.Lines), found.Next, err)
	}
	rest, err := e.admin.SearchRecordFor(t.Context(), admin.System("test"), admin.RecordFilter{Before: found.Next}, want, time.Minute)
	if last := found.Lines[want-1].Seq; err != nil || rest.Next != "" || len(rest.Lines) == 0 || rest.Lines[0].Seq != last-1 {
		t.Fatalf("after line %d: %d lines, and next %q: %v", last, len(rest.Lines), rest.Next, err)
	}
	for _, f := range []admin.RecordFilter{{Decision: "maybe"}, {Request: "ffffffffffffffffffffffffffffffff"}} {
		if found, err := e.admin.SearchRecordFor(t.Context(), admin.System("test"), f, 300, time.Minute); err != nil || len(found.Lines) > 0 || found.Next != "" {
			t.Errorf("%+v: %d lines, and next %q: %v", f, len(found.Lines), found.Next, err)
		}
	}
	if _, err := e.admin.ShowRequest(t.Context(), admin.System("test"), "ffffffffffffffffffffffffffffffff", time.Minute); !errors.Is(err, admin.ErrUnrecorded) {
		t.Error(err)
	}
}
