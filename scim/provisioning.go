package scim

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"sallyport/directory"
	"sallyport/store"
)

// Provisioning is what the store keeps for SCIM beside the directory: tokens, held deactivations, the provisioning log
// and the keys of cursors. The server stands on it, and so do operators' commands while no server runs.
type Provisioning struct {
	store     store.Store
	directory *directory.Directory
	tokens    tokenIndex

	mu       sync.Mutex // guards what follows
	applied  store.Revision
	advanced chan struct{} // closed when applied grows
	failure  error         // why the tokens in memory are no longer current
}

// Open reads the tokens in st into memory and checks the other records of provisioning, so that damage is found before
// anything is decided by them. d is the directory in the same store.
func Open(ctx context.Context, st store.Store, d *directory.Directory) (*Provisioning, error) {
	p := &Provisioning{store: st, directory: d, advanced: make(chan struct{})}
	if err := p.load(ctx, checkRecords); err != nil {
		return nil, fmt.Errorf("loading provisioning records: %w; restore a backup", err)
	}
	return p, nil
}

// load reads the tokens into memory, unless check fails.
func (p *Provisioning) load(ctx context.Context, check func(store.Reader) error) error {
	return p.store.View(ctx, func(r store.Reader) error {
		if err := check(r); err != nil {
			return err
		}
		p.tokens.load(r)
		p.advance(r.Revision())
		return nil
	})
}

// Run keeps the tokens in memory equal to the store until ctx ends. After that they are no longer current, and nobody
// is let in by them.
func (p *Provisioning) Run(ctx context.Context) error {
	err := p.follow(ctx)
	for errors.Is(err, store.ErrCompacted) {
		if err = p.load(ctx, checkRecords); err == nil {
			err = p.follow(ctx)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure = err
	close(p.advanced)
	p.advanced = make(chan struct{})
	return err
}

func (p *Provisioning) follow(ctx context.Context) error {
	for change, err := range p.store.Watch(ctx, p.applied) {
		if err != nil {
			return err
		}
		p.tokens.apply(change)
		p.advance(change.Revision)
	}
	return ctx.Err()
}

func (p *Provisioning) advance(rev store.Revision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.applied = rev
	close(p.advanced)
	p.advanced = make(chan struct{})
}

// update changes the store and returns once the tokens in memory show the change.
func (p *Provisioning) update(ctx context.Context, fn func(store.Writer) error) error {
	rev, err := p.store.Update(ctx, fn)
	for err == nil {
		p.mu.Lock()
		applied, advanced, failure := p.applied, p.advanced, p.failure
		p.mu.Unlock()
		switch {
		case applied >= rev:
			return nil
		case failure != nil:
			return failure
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-advanced:
		}
	}
	return err
}

// checkRecords returns an error if a record is damaged without which a decision could be wrong. A damaged token is
// harmless: it lets nobody in.
func checkRecords(r store.Reader) error {
	for _, prefix := range []string{holdKeys, deactivationKeys, secretKeys} {
		for e, err := range r.Scan([]byte(prefix), nil) {
			if err != nil {
				return fmt.Errorf("the record at %q: %w", e.Key, err)
			}
		}
	}
	return nil
}
