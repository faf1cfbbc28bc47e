package scim

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"sallyport/store"
)

// Outcome says in one word what became of a request in the provisioning log.
type Outcome string

// The outcomes.
const (
	OutcomeRead       Outcome = "read"      // it asked, and was told
	OutcomeChanged    Outcome = "changed"   // it changed the directory
	OutcomeUnchanged  Outcome = "unchanged" // what it asked for was so already
	OutcomeMissing    Outcome = "missing"   // there is no such resource
	OutcomeHeld       Outcome = "held"      // a deactivation that waits for an operator, or that an operator rejected
	OutcomeRefused    Outcome = "refused"   // it cannot be done as it was asked
	OutcomeFailed     Outcome = "failed"    // the server could not do it
	OutcomeNoIdentity Outcome = "no_token"  // its token was rejected
)

// Outcomes returns every outcome.
func Outcomes() []Outcome {
	return []Outcome{OutcomeChanged, OutcomeUnchanged, OutcomeRead, OutcomeMissing, OutcomeHeld, OutcomeRefused, OutcomeFailed, OutcomeNoIdentity}
}

// Outcome returns what became of the request.
func (e LogEntry) Outcome() Outcome {
	switch {
	case e.Rejected():
		return OutcomeNoIdentity
	case strings.HasPrefix(e.Problem, heldBegin), strings.HasPrefix(e.Problem, rejectedBegin):
		return OutcomeHeld
	case e.Code >= http.StatusInternalServerError:
		return OutcomeFailed
	case e.Code == http.StatusNotFound:
		return OutcomeMissing
	case e.Code >= http.StatusBadRequest:
		return OutcomeRefused
	case len(e.Changes) > 0 || e.Method == http.MethodDelete || e.Code == http.StatusCreated:
		return OutcomeChanged
	case e.Method == http.MethodGet, e.Method == http.MethodHead, strings.Contains(e.Target, "/.search"), strings.HasPrefix(e.Target, "/token"):
		return OutcomeRead
	}
	return OutcomeUnchanged
}

// readAtOnce is how many entries of the provisioning log are read together.
const readAtOnce = 500

// ReadLog calls f with the entries of the provisioning log that are older than one, by its number, or with all (0): the
// newest first, until f returns false.
func (p *Provisioning) ReadLog(ctx context.Context, before uint64, f func(LogEntry) bool) error {
	err := p.store.View(ctx, func(r store.Reader) error {
		count, err := logCount(r)
		if err != nil {
			return err
		}
		end := uint64(max(0, count)) //nolint:gosec // not negative
		if before > 0 {
			end = min(end, before-1)
		}
		for end > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			from := end - min(end, readAtOnce)
			entries, err := readEntries(r, from, end)
			if err != nil {
				return err
			}
			for _, entry := range slices.Backward(entries) {
				if !f(entry) {
					return nil
				}
			}
			if end = from; len(entries) == 0 { // older ones were deleted
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the provisioning log: %w", err)
	}
	return nil
}

// readEntries returns the entries whose keys have the numbers from one on and before another.
func readEntries(r store.Reader, from, end uint64) (entries []LogEntry, err error) {
	for e, err := range r.Scan([]byte(logKeys), logKey(from)) {
		if err != nil {
			return nil, err
		}
		entry, err := decodeEntry(e)
		if err != nil {
			return nil, err
		}
		if entry.Number > end {
			break
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// LogEntry returns the entry of the provisioning log with a number; ok is false if it was never written, or was deleted.
func (p *Provisioning) LogEntry(ctx context.Context, number uint64) (entry LogEntry, ok bool, err error) {
	err = p.ReadLog(ctx, number+1, func(e LogEntry) bool {
		entry, ok = e, e.Number == number
		return false
	})
	return entry, ok && number > 0, err
}

// decodeEntry decodes an entry. Its number is one more than the one in its key.
func decodeEntry(e store.Entry) (entry LogEntry, err error) {
	if err := json.Unmarshal(e.Value, &entry); err != nil {
		return entry, err
	}
	if len(e.Key) == len(logKeys)+8 {
		entry.Number = binary.BigEndian.Uint64(e.Key[len(logKeys):]) + 1
	}
	return entry, nil
}
