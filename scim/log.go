package scim

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// Entry is one exchange in the provisioning log. It tells names and shapes, never
// a value that the client sent, but for true and false.
type LogEntry struct {
	Time         time.Time            `json:"time"` // when the request came, UTC
	Token        string               `json:"token"`
	Method       string               `json:"method"`
	Target       string               `json:"target"` // below /scim/v2; values in filters are left out
	Code         int                  `json:"code"`
	Problem      string               `json:"problem,omitempty"` // why it was refused
	Milliseconds float64              `json:"milliseconds"`
	Quirks       map[schema.Quirk]int `json:"quirks,omitempty"`
	Resource     string               `json:"resource,omitempty"` // the id of what was asked for or made
	Changes      []string             `json:"changes,omitempty"`  // what differs since: attributes, "members +2 -1"
}

// QuirkNames are the names of the entry's quirks, sorted.
func (e LogEntry) QuirkNames() (names []string) {
	for _, q := range slices.Sorted(maps.Keys(e.Quirks)) {
		names = append(names, string(q))
	}
	return names
}

// Log is the newest n entries of the provisioning log, the newest first.
func Log(ctx context.Context, d *directory.Directory, n int) ([]LogEntry, error) {
	raw, err := d.Exchanges(ctx, n)
	if err != nil {
		return nil, err
	}
	entries := make([]LogEntry, len(raw))
	for i, one := range raw {
		if err := json.Unmarshal(one, &entries[i]); err != nil {
			return nil, fmt.Errorf("reading the provisioning log: %w", err)
		}
	}
	return entries, nil
}

const (
	logQueue    = 4096        // entries that may wait to be written; more are counted and dropped
	logInterval = time.Second // how often they are
)

// Run writes the provisioning log until ctx ends, and then what is left of it.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(logInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.writeLog(context.WithoutCancel(ctx))
			return ctx.Err()
		case <-tick.C:
			s.writeLog(ctx)
		}
	}
}

// writeLog writes the entries that wait now.
func (s *Server) writeLog(ctx context.Context) {
	batch := s.waiting()
	if len(batch) == 0 {
		return
	}
	if err := s.directory.AppendExchanges(ctx, batch); err != nil {
		s.log.Warn("the provisioning log was not written", "err", err)
	}
}

// waiting takes the entries that wait now.
func (s *Server) waiting() (batch []json.RawMessage) {
	for {
		select {
		case entry := <-s.entries:
			data, err := json.Marshal(entry)
			if err != nil {
				s.log.Error("an entry of the provisioning log cannot be written", "err", err)
				continue
			}
			batch = append(batch, data)
		default:
			return batch
		}
	}
}

// enter puts an exchange into the provisioning log, if its token was good:
// strangers leave no trace in the store.
func (s *Server) enter(req *request, status int, err error, took time.Duration) {
	if req.token.ID == "" {
		return
	}
	entry := LogEntry{Time: req.received, Token: req.token.Name, Method: methodLabel(req.Method), Target: redactedTarget(req.Request), Code: status,
		Milliseconds: float64(took.Microseconds()) / 1000, Quirks: req.notes.Counts, Changes: req.changes}
	if id := req.PathValue("id"); ourID.MatchString(id) {
		entry.Resource = id
	} else if i := strings.LastIndexByte(req.location, '/'); i >= 0 {
		entry.Resource = req.location[i+1:]
	}
	if err != nil {
		entry.Problem = problemOf(err).redacted()
	}
	select {
	case s.entries <- entry:
	default:
		s.metrics.dropped.Inc()
	}
}

var (
	ourID     = regexp.MustCompile(`^[0-9a-f]{32}$`)
	plainName = regexp.MustCompile(`^[A-Za-z0-9$._:,-]{1,200}$`)
)

// redactedTarget is what a request asked for, without the values in it.
func redactedTarget(r *http.Request) string {
	var segments []string
	for segment := range strings.SplitSeq(strings.TrimPrefix(r.URL.Path, "/"), "/") {
		switch {
		case ourID.MatchString(segment), segment == "", slices.Contains(knownSegments, segment), strings.HasPrefix(segment, "urn:ietf:params:scim:schemas:"):
		default:
			segment = "…"
		}
		segments = append(segments, segment)
	}
	out := "/" + strings.Join(segments, "/")
	query := r.URL.Query()
	for i, name := range slices.Sorted(maps.Keys(query)) {
		separator := "&"
		if i == 0 {
			separator = "?"
		}
		out += separator + parameterShape(name, query.Get(name))
	}
	return out
}

var knownSegments = []string{"Users", "Groups", "Bulk", "Me", ".search", "ServiceProviderConfig", "ResourceTypes", "Schemas", "User", "Group"}

func parameterShape(name, value string) string {
	switch {
	case name == "filter":
		return "filter=" + schema.RedactFilter(value)
	case name == "cursor":
		return "cursor"
	case !slices.Contains(parameters, name):
		return "…"
	case plainName.MatchString(value):
		return name + "=" + value
	}
	return name + "=…"
}

// parameters are those of a query (RFC 7644 §3.4.2, RFC 9865 §2).
var parameters = []string{"filter", "sortBy", "sortOrder", "startIndex", "count", "cursor", "attributes", "excludedAttributes"}
