package scim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/scim/internal/schema"
	"sallyport/store"
)

// LogEntry is one request in the provisioning log. It holds names and shapes, never a value that the client sent,
// except true and false.
type LogEntry struct {
	Number       uint64               `json:"number,omitempty"` // from 1, of an entry that was read
	Time         time.Time            `json:"time"`             // when the request arrived, UTC
	Token        string               `json:"token"`
	Address      string               `json:"address,omitempty"` // of a client whose token was rejected
	Method       string               `json:"method"`
	Target       string               `json:"target"` // below /scim/v2; the values in filters are left out
	Code         int                  `json:"code"`
	Problem      string               `json:"problem,omitempty"` // why it was rejected
	Milliseconds float64              `json:"milliseconds"`
	Quirks       map[schema.Quirk]int `json:"quirks,omitempty"`
	Resource     string               `json:"resource,omitempty"` // the ID of the resource that was asked for or created
	Changes      []string             `json:"changes,omitempty"`  // what it changed: attributes, "members +2 -1"
	Enforced     string               `json:"enforced,omitempty"` // what replicas made of that: "enforced on 3/3 replicas in 5 ms"
}

// Rejected reports whether the request's token was rejected. Of such requests the log has one a minute for each address.
func (e LogEntry) Rejected() bool {
	return e.Code == http.StatusUnauthorized || e.Code == http.StatusTooManyRequests
}

// QuirkNames returns the names of the entry's quirks, sorted.
func (e LogEntry) QuirkNames() (names []string) {
	for _, q := range slices.Sorted(maps.Keys(e.Quirks)) {
		names = append(names, string(q))
	}
	return names
}

const (
	logSize     = 10_000      // entries that the provisioning log keeps
	logQueue    = 4096        // entries that may wait to be written; more are dropped and counted
	logInterval = time.Second // how often entries are written
)

// Log returns the newest n entries of the provisioning log, the newest first.
func (p *Provisioning) Log(ctx context.Context, n int) (entries []LogEntry, err error) {
	err = p.store.View(ctx, func(r store.Reader) error {
		entries = []LogEntry{}
		count, err := logCount(r)
		if err != nil {
			return err
		}
		for e, err := range r.Scan([]byte(logKeys), logKey(uint64(max(0, count-max(0, n))))) {
			if err != nil {
				return err
			}
			entry, err := decodeEntry(e)
			if err != nil {
				return err
			}
			entries = append(entries, entry)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the provisioning log: %w", err)
	}
	slices.Reverse(entries)
	return entries, nil
}

// logCount returns how many entries were ever written.
func logCount(r store.Reader) (int, error) {
	value, err := r.Get([]byte(logCountKey))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(value))
}

// appendLog adds encoded entries to the provisioning log, the oldest first, and deletes those beyond its size.
func (p *Provisioning) appendLog(ctx context.Context, entries []json.RawMessage) error {
	entries = entries[max(0, len(entries)-logSize):]
	_, err := p.store.Update(ctx, func(w store.Writer) error {
		count, err := logCount(w)
		if err != nil {
			return err
		}
		for i, entry := range entries {
			n := uint64(count + i)
			if err := w.Put(logKey(n), entry); err != nil {
				return err
			}
			if n < logSize {
				continue
			}
			if err := w.Delete(logKey(n - logSize)); err != nil {
				return err
			}
		}
		return w.Put([]byte(logCountKey), strconv.AppendInt(nil, int64(count+len(entries)), 10))
	})
	return err
}

// Run writes the provisioning log until ctx ends, and then the entries that still wait.
func (s *Server) Run(ctx context.Context) error {
	ticker := time.NewTicker(logInterval)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			_ = s.writeLog(context.WithoutCancel(ctx))
			return ctx.Err()
		case <-ticker.C:
			err := s.writeLog(ctx)
			if err != nil && !failing {
				s.log.Warn("the provisioning log is not written", "err", err)
			}
			failing = err != nil
		}
	}
}

// writeLog writes the entries that wait now.
func (s *Server) writeLog(ctx context.Context) error {
	batch := s.queuedEntries()
	if len(batch) == 0 {
		return nil
	}
	return s.provisioning.appendLog(ctx, batch)
}

// queuedEntries takes the entries that wait now, encoded.
func (s *Server) queuedEntries() (batch []json.RawMessage) {
	for {
		select {
		case entry := <-s.entries:
			data, err := json.Marshal(entry)
			if err != nil {
				s.log.Error("provisioning log entry not encoded", "err", err)
				continue
			}
			batch = append(batch, data)
		default:
			return batch
		}
	}
}

// logRequest queues a request for the provisioning log if its token was valid: others must not be able to fill the
// store. What is logged of them, [Server.traceRejection] says.
func (s *Server) logRequest(req *request, status int, err error, took time.Duration) {
	if req.token.ID == "" {
		return
	}
	entry := LogEntry{Time: req.received, Token: req.token.Name, Method: methodLabel(req.Method), Target: redactedTarget(req.Request), Code: status,
		Milliseconds: float64(took.Microseconds()) / 1000, Quirks: req.quirks.Counts, Changes: req.changes, Enforced: req.enforced, Resource: req.resourceID()}
	if err != nil {
		entry.Problem = problemOf(err).redacted()
	}
	s.enqueue(entry)
}

// enqueue puts an entry into the queue for the provisioning log.
func (s *Server) enqueue(entry LogEntry) {
	select {
	case s.entries <- entry:
	default:
		s.metrics.dropped.Inc()
	}
}

// resourceID returns the ID of the resource that the request names or created.
func (req *request) resourceID() string {
	if id := req.PathValue("id"); ourID().MatchString(id) {
		return id
	}
	if i := strings.LastIndexByte(req.location, '/'); i >= 0 {
		return req.location[i+1:]
	}
	return ""
}
