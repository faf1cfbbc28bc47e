package audit_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
)

// recordBeforeActors is a record that was written before events had actors.
const recordBeforeActors = `{"seq":1,"time":"2026-11-01T08:00:00Z","kind":"token","reason":"created","detail":{"name":"entra","token":"927fa2c08dcb4a7fae9e927fa2c08dcb"},"prev":"","hash":"e1471484808c24c713ac6500d191ed8ed9146f1ea4453871954291efeaff85a1"}
{"seq":2,"time":"2026-11-01T08:05:00Z","kind":"suspend","user":"5a111900000040008000000000000001","user_name":"ada@example.com","reason":"suspended","detail":{"why":"laptop stolen"},"prev":"e1471484808c24c713ac6500d191ed8ed9146f1ea4453871954291efeaff85a1","hash":"660a617fedf4d6c8e27116fef7d836bca94a41370341b83c68a48be4f7f5350f"}
`

func TestActor_IsWrittenAfterKind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(path, []byte(recordBeforeActors), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, actor := range []audit.Actor{
		{Kind: audit.ActorOperator, Name: "ada", Address: "control socket"},
		{Kind: audit.ActorSystem, Name: "SIGHUP"},
		{Kind: audit.ActorUser, Name: "eve@example.com", Address: "192.0.2.1", ID: "5a111900000040008000000000000002"},
		{Kind: audit.ActorUser, Name: "eve@example.com", ID: "5a111900000040008000000000000002", Session: audit.BreakGlass},
	} {
		if err := l.Write(audit.Event{Time: time.Unix(0, 0).UTC(), Kind: audit.KindConfig, Actor: actor, Reason: "reloaded"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"kind":"config","actor":{"kind":"operator","name":"ada","address":"control socket"},"reason":"reloaded"`,
		`"kind":"config","actor":{"kind":"system","name":"SIGHUP"},"reason":"reloaded"`,
		`"kind":"config","actor":{"kind":"user","name":"eve@example.com","address":"192.0.2.1","id":"5a111900000040008000000000000002"},"reason":"reloaded"`,
		`"id":"5a111900000040008000000000000002","session":"break-glass"},"reason":"reloaded"`,
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("the record lacks %s:\n%s", want, data)
		}
	}
	if n, err := audit.Verify(strings.NewReader(string(data))); n != 6 || err != nil {
		t.Errorf("%d lines are sound, %v", n, err)
	}
	forged := strings.Replace(string(data), `"name":"ada"`, `"name":"bob"`, 1)
	if n, err := audit.Verify(strings.NewReader(forged)); n != 2 || err == nil {
		t.Errorf("with another actor %d lines are sound, %v", n, err)
	}
}

func TestVerify_AcceptsRecordsWithoutActors(t *testing.T) {
	if n, err := audit.Verify(strings.NewReader(recordBeforeActors)); n != 2 || err != nil {
		t.Errorf("%d lines are sound, %v", n, err)
	}
}
