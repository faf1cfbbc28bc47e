package main

import (
	"context"
	"io"
	"sync"
	"time"

	"sallyport/admin"
	"sallyport/audit/rollup"
)

const (
	findingsAge  = 10 * time.Minute // after which the doctor looks again, if somebody asks
	findingsTime = 2 * time.Minute  // that it may take
)

// findings has the doctor look at this server from within, when somebody asks and it is some time ago.
type findings struct {
	path      string // of the configuration file
	rollup    *rollup.Rollup
	inspector *inspector
	asked     chan struct{} // has a value when the doctor is to look

	mu  sync.Mutex // guards the field below
	now admin.Diagnosis
}

func newFindings(path string, figures *rollup.Rollup) *findings {
	return &findings{path: path, rollup: figures, asked: make(chan struct{}, 1), now: admin.Diagnosis{Findings: []admin.Finding{}}}
}

// get returns what the doctor found last.
func (f *findings) get() admin.Diagnosis {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.now.At) > findingsAge && !f.now.Looking {
		select {
		case f.asked <- struct{}{}:
			f.now.Looking = true
		default:
		}
	}
	return f.now
}

// Run has the doctor look when somebody asks, until ctx ends.
func (f *findings) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.asked:
		}
		found := f.look(ctx)
		f.mu.Lock()
		f.now = admin.Diagnosis{Findings: found, At: time.Now().UTC()}
		f.mu.Unlock()
	}
}

// look runs the checks over the control socket of this server. Where they would read the whole store or record, what the
// server knows already takes their place.
func (f *findings) look(ctx context.Context) []admin.Finding {
	ctx, stop := context.WithTimeout(ctx, findingsTime)
	defer stop()
	d := &doctor{path: f.path, client: &controlClient{findInstallation(f.path), io.Discard}, within: f}
	if d.client.err == nil {
		d.file = d.client.file
	}
	d.checkAll(ctx)
	list := []admin.Finding{}
	for _, r := range d.results {
		list = append(list, admin.Finding(r))
	}
	return list
}

// checkStoreWithin reports what the last inspection of the running server found.
func (d *doctor) checkStoreWithin() {
	if n := d.within.inspector.faults.Load(); n > 0 {
		d.report("store", stateFail, "run `sallyport store check` with the server stopped, and restore a backup", "%d records are not as they should be, at the last look at all of them", n)
		return
	}
	d.pass("store", "every record was sound at the last look, which is at most an hour ago")
}
