package main

import (
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestKill_LosesNothingAcknowledged kills the server (SIGKILL) in the middle of a thousand concurrent pushes, starts it
// again and looks for every user whose creation was acknowledged.
func TestKill_LosesNothingAcknowledged(t *testing.T) {
	const writers, each = 8, 125
	w := newWorld(t)
	s := w.start("--init")
	p := w.pusher(s)

	var acked sync.Map // userName → id
	var count atomic.Int64
	var all sync.WaitGroup
	for writer := range writers {
		all.Go(func() {
			for n := range each {
				name := fmt.Sprintf("user-%d-%d@example.com", writer, n)
				status, body, err := p.try("POST", "/Users", map[string]any{
					"schemas":  []string{"urn:ietf:params:scim:schemas:core:2.0:User"},
					"userName": name, "externalId": name, "active": true})
				if err != nil {
					return // the server was killed
				}
				if status != http.StatusCreated {
					t.Errorf("creating %s gives %d: %v", name, status, body)
					return
				}
				acked.Store(name, body["id"])
				if count.Add(1) == writers*each/2 {
					go s.kill()
				}
			}
		})
	}
	all.Wait()
	if n := count.Load(); n < writers*each/2 {
		t.Fatalf("only %d pushes were acknowledged before the kill", n)
	}

	again := w.start()
	p = w.pusher(again)
	acked.Range(func(name, id any) bool {
		list := p.send("GET", "/Users?filter="+url.QueryEscape(fmt.Sprintf("userName eq %q", name)), nil, http.StatusOK)
		found, _ := list["Resources"].([]any)
		if len(found) != 1 || found[0].(map[string]any)["id"] != id {
			t.Errorf("%v was acknowledged as %v and is lost: %v", name, id, list)
		}
		return true
	})
	again.verb("audit", "verify")
	acked.Range(func(name, _ any) bool { // the history is that of the directory: a change without it would be noticed
		again.verb("users", "show", name.(string), "--at", time.Now().UTC().Format(time.RFC3339Nano))
		return false
	})
}
