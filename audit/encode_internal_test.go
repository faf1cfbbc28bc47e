package audit

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestAppendFields_EqualsEncodingJSON: any JSON parser can read the record, and lines
// that earlier versions wrote with encoding/json have the same form.
func TestAppendFields_EqualsEncodingJSON(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z/<>&"\\ ]{0,20}`), rapid.SampledFrom([]string{"\xff\u2028\x00", "\u2028", "\xff", "\x7f", "é", " ~", "\x1f"}))
	rapid.Check(t, func(t *rapid.T) {
		e := Event{Time: time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC(),
			Kind: KindDecision, Code: rapid.IntRange(0, 599).Draw(t, "code"), Revision: rapid.Uint64().Draw(t, "rev"),
			Detail: rapid.MapOfN(text, text, 0, 3).Draw(t, "detail")}
		e.Actor = Actor{Kind: ActorKind(text.Draw(t, "actor kind")), Name: text.Draw(t, "actor name"), Address: text.Draw(t, "actor address"), ID: text.Draw(t, "actor id"), Session: text.Draw(t, "actor session")}
		for _, field := range []*string{&e.Request, &e.User, &e.UserName, &e.Group, &e.Session, &e.Route, &e.Host, &e.Method, &e.Path, &e.Address,
			&e.Decision, &e.Rule, &e.Reason} {
			*field = text.Draw(t, "text")
		}
		l := line{Seq: rapid.Uint64().Draw(t, "seq"), Event: e, Prev: text.Draw(t, "prev")}
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(l); err != nil {
			t.Fatal(err)
		}
		if got := string(appendLine(nil, l.Seq, e.appendFields(nil), l.Prev)) + "}\n"; got != want.String() {
			t.Fatalf("%s\nwant %s", got, want.String())
		}
	})
}
