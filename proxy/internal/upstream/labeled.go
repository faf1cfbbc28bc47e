package upstream

import (
	"net/url"
	"strings"
	"sync"
	"time"
)

// Label stands in the host of a target for the label by which a wildcard host was reached.
const Label = "{label}"

// maxLabels bounds how many labels have connections and remembered failures of their own. Beyond it, the label that was not
// used for the longest time begins anew.
const maxLabels = 1000

// Labeled are the upstreams of a route with a wildcard host: one for each label, made when it is first asked for.
type Labeled struct {
	config  Config
	targets []string // as [ParseTarget] accepts them once a label is in its place

	mu      sync.Mutex // guards what follows
	byLabel map[string]*labeledUse
	uses    uint64
}

// labeledUse is the upstream of one label, and when it was used last.
type labeledUse struct {
	upstream *Upstream
	last     uint64
}

// NewLabeled returns the upstreams that config describes with targets in place of its own.
func NewLabeled(config Config, targets []string) *Labeled {
	return &Labeled{config: config, targets: targets, byLabel: map[string]*labeledUse{}}
}

// HasLabel reports whether a target is another one for each label.
func HasLabel(target string) bool { return strings.Contains(target, Label) }

// ParseLabeled returns the URL of a target for a label. The label must be one of a host name, and the caller checks that
// the target is a whole host with it.
func ParseLabeled(target, label string) (*url.URL, error) {
	return ParseTarget(strings.Replace(target, Label, label, 1))
}

// For returns the upstream of a label.
func (l *Labeled) For(label string) (*Upstream, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.uses++
	use, ok := l.byLabel[label]
	if !ok {
		config := l.config
		config.Targets = nil
		for _, text := range l.targets {
			target, err := ParseLabeled(text, label)
			if err != nil {
				return nil, err
			}
			config.Targets = append(config.Targets, target)
		}
		l.forgetOldest()
		use = &labeledUse{upstream: New(config)}
		l.byLabel[label] = use
	}
	use.last = l.uses
	return use.upstream, nil
}

// forgetOldest forgets the label that was not used for the longest time if there are too many.
func (l *Labeled) forgetOldest() {
	if len(l.byLabel) < maxLabels {
		return
	}
	oldest := ""
	for label, use := range l.byLabel {
		if oldest == "" || use.last < l.byLabel[oldest].last {
			oldest = label
		}
	}
	l.byLabel[oldest].upstream.retire()
	delete(l.byLabel, oldest)
}

// Available is [Upstream.Available] of all labels that are in use.
func (l *Labeled) Available(now time.Time) (targets, down int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, use := range l.byLabel {
		t, d := use.upstream.Available(now)
		targets, down = targets+t, down+d
	}
	return targets, down
}

// CloseIdleConnections closes the connections that wait for a request.
func (l *Labeled) CloseIdleConnections() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, use := range l.byLabel {
		use.upstream.CloseIdleConnections()
	}
}

// retire closes idle connections, now and when requests under way end.
func (u *Upstream) retire() {
	for _, t := range u.targets {
		if t.http1 != nil {
			t.http1.retire()
		}
		if t.http2 != nil {
			t.http2.CloseIdleConnections()
		}
	}
}
