package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/audit"
	"sallyport/audit/receipt"
)

// TestReceipt_TellsOfAnOffboarding: Alice is deactivated while she has a WebSocket, a stream and a download, tries again,
// and is deleted. The receipt tells all of that, rests on lines that the record has, and is verified elsewhere.
func TestReceipt_TellsOfAnOffboarding(t *testing.T) {
	s := newStage(t)
	bob := s.push.hire("bob", "oid-bob")
	requests := s.openAll(t)
	s.push.setActive(s.alice, "False")
	s.demandCut(t, requests, http.StatusForbidden)
	s.push.setActive(bob, "False")
	var r receipt.Receipt
	eventually(t, "the record has all of it", func() bool {
		text, code, _ := s.receipt("alice@example.com")
		r = opened(t, text)
		return code == exitOK && r.Enforced.Cuts == 3 && r.Enforced.Sessions == 1 && r.Attempts.Count == 1
	})
	if o := r.Offboarding; o.What != receipt.Deactivated || o.Actor.Kind != audit.ActorToken || o.Actor.Name != "entra" || o.Received.After(o.Done) || r.Person.ExternalID != s.person.OID {
		t.Errorf("offboarding: %+v of %+v", o, r.Person)
	}
	for _, c := range r.Cuts {
		if c.Milliseconds < 1 || c.Milliseconds != (c.Cut.Sub(r.Offboarding.Received).Nanoseconds()+999_999)/1_000_000 || c.Revision != r.Offboarding.Revision || c.Route != "app" || c.Milliseconds > r.Enforced.Milliseconds {
			t.Errorf("cut: %+v of %+v", c, r.Offboarding)
		}
	}
	if r.Sessions[0].Login == nil || r.Sessions[0].ID != r.Cuts[0].Session || len(r.Replicas) != 1 || r.Replicas[0].Name == "" || r.PublicURL != "https://"+loginHost || r.MadeBy.Kind != audit.ActorOperator {
		t.Errorf("sessions %+v on %v at %s by %+v", r.Sessions, r.Replicas, r.PublicURL, r.MadeBy)
	}
	if r.Still.Access != receipt.AccessNone || r.Still.Directory != "inactive" || r.Still.Sessions != 0 || r.Allowed.Count != 0 {
		t.Errorf("still %+v, allowed %+v", r.Still, r.Allowed)
	}

	s.push.send("DELETE", "/Users/"+s.alice, nil, http.StatusNoContent)
	var text string
	eventually(t, "the record has the deletion", func() bool {
		text, _, _ = s.receipt(s.person.OID)
		r = opened(t, text)
		return len(r.Later) == 1 && r.Still.Directory == "deleted"
	})
	s.verifyReceipt(t, text)
}

// verifyReceipt verifies a receipt in the installation, elsewhere, and after it or the record was changed.
func (s *stage) verifyReceipt(t *testing.T, text string) {
	file, key, config := filepath.Join(t.TempDir(), "receipt.json"), filepath.Join(t.TempDir(), "key.json"), filepath.Join(s.dir, "sallyport.yaml")
	writeFile(t, filepath.Dir(file), "receipt.json", []byte(text))
	writeFile(t, filepath.Dir(key), "key.json", []byte(s.server.verb("audit", "key")))
	verify := func(want int, says string, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		code := run(context.Background(), append([]string{"audit", "receipt", "verify", file}, args...), nil, &out, &errs)
		if code != want || !strings.Contains(out.String()+errs.String(), says) {
			t.Errorf("verify %v exits with %d, want %d and %q:\n%s%s", args, code, want, says, out.String(), errs.String())
		}
	}
	verify(exitOK, "the record has the same", "-c", config)
	verify(exitOK, "were not compared", "--key", key, "-c", "nowhere.yaml")
	record := filepath.Join(t.TempDir(), "audit.jsonl")
	lines, err := os.ReadFile(filepath.Join(s.dir, "data", "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Dir(record), "audit.jsonl", lines)
	verify(exitOK, "the record has the same", "--key", key, "--record", record, "-c", "nowhere.yaml")
	writeFile(t, filepath.Dir(record), "audit.jsonl", bytes.Replace(lines, []byte(`"deactivated"`), []byte(`"Deactivated"`), 1))
	verify(exitDenied, "was changed", "--key", key, "--record", record, "-c", "nowhere.yaml")
	writeFile(t, filepath.Dir(file), "receipt.json", []byte(strings.Replace(text, `"cuts": 3`, `"cuts": 0`, 1)))
	verify(exitDenied, "not the one that was signed", "--key", key, "-c", "nowhere.yaml")
	writeFile(t, filepath.Dir(file), "receipt.json", []byte(text))
	verify(exitError, "has no keys", "--key", file, "-c", "nowhere.yaml")

	s.server.kill() // and by the store, when no server runs
	verify(exitOK, "the record has the same", "-c", config)
	if again, code, errs := s.receipt(s.alice); code != exitOK || opened(t, again).Enforced.Cuts != 3 {
		t.Errorf("without a server: %d %s", code, errs)
	}
	cutOff := lines[:bytes.LastIndexByte(lines[:len(lines)/2], '\n')+1]
	writeFile(t, filepath.Dir(record), "audit.jsonl", cutOff)
	verify(exitOK, "end before", "--key", key, "--record", record, "-c", "nowhere.yaml") // they may be in another file
	writeFile(t, filepath.Join(s.dir, "data"), "audit.jsonl", cutOff)
	verify(exitDenied, "was cut off", "-c", config)
	writeFile(t, filepath.Join(s.dir, "data"), "audit.jsonl", lines)
}

// receipt runs the verb in this process.
func (s *stage) receipt(args ...string) (out string, code int, errs string) {
	var stdout, stderr bytes.Buffer
	code = run(context.Background(), append([]string{"audit", "receipt", "-c", filepath.Join(s.dir, "sallyport.yaml")}, args...), nil, &stdout, &stderr)
	return stdout.String(), code, stderr.String()
}

// opened returns the receipt in a document; the zero value if there is none.
func opened(t *testing.T, text string) receipt.Receipt {
	t.Helper()
	var d struct{ Receipt receipt.Receipt }
	if text != "" {
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			t.Fatal(err)
		}
	}
	return d.Receipt
}
