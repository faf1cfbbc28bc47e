package scim

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestScans_AreBounded: so many queries that no index serves are under way, so many wait, and those for a bounded time.
func TestScans_AreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScans()
		var ends []func()
		for range maxScans {
			end, err := s.begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ends = append(ends, end)
		}
		begun := time.Now()
		if _, err := s.begin(t.Context()); problemOf(err).status != http.StatusServiceUnavailable || time.Since(begun) != maxScanWait {
			t.Errorf("one too many: %v after %s", err, time.Since(begun))
		}
		leaving, leave := context.WithCancel(t.Context())
		results := make(chan error)
		for range maxScanQueue {
			go func() {
				_, err := s.begin(leaving)
				results <- err
			}()
		}
		synctest.Wait()
		if _, err := s.begin(t.Context()); problemOf(err).status != http.StatusServiceUnavailable {
			t.Errorf("with a full queue: %v", err)
		}
		leave()
		for range maxScanQueue {
			if err := <-results; !errors.Is(err, context.Canceled) {
				t.Errorf("a client that went away: %v", err)
			}
		}
		waiting := make(chan error)
		go func() {
			end, err := s.begin(t.Context())
			if err == nil {
				defer end()
			}
			waiting <- err
		}()
		synctest.Wait()
		ends[0]()
		if err := <-waiting; err != nil {
			t.Errorf("one that waited for its turn: %v", err)
		}
		ends[1]()
		if len(s.running)+len(s.queued) != 0 {
			t.Error("a place is not free again")
		}
	})
}
