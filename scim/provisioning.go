package scim

import (
	"context"
	"fmt"

	"sallyport/directory"
	"sallyport/store"
	"sallyport/store/follow"
)

// Provisioning is what the store keeps for SCIM beside the directory: tokens, held deactivations, the provisioning log
// and the keys of cursors. The server stands on it, and so do operators' commands while no server runs.
type Provisioning struct {
	store     store.Store
	directory *directory.Directory
	tokens    tokenIndex     // kept equal to the store by mirror
	mirror    *follow.Mirror // once it has ended, tokens are no longer current and every request is rejected
}

// Open reads the tokens in st into memory and checks the other records of provisioning, so that damage is found before
// anything is decided by them. d is the directory in the same store.
func Open(ctx context.Context, st store.Store, d *directory.Directory) (*Provisioning, error) {
	p := &Provisioning{store: st, directory: d}
	var err error
	if p.mirror, err = follow.New(ctx, st, p.load, p.tokens.apply); err != nil {
		return nil, fmt.Errorf("loading provisioning records: %w; restore a backup", err)
	}
	return p, nil
}

// Run keeps the tokens in memory equal to the store until ctx ends.
func (p *Provisioning) Run(ctx context.Context) error { return p.mirror.Run(ctx) }

// CatchUp returns nil once memory has what any replica has stored before the call.
func (p *Provisioning) CatchUp(ctx context.Context) error { return p.mirror.CatchUp(ctx) }

// load reads the tokens into memory, unless another record is damaged.
func (p *Provisioning) load(ctx context.Context) (rev store.Revision, err error) {
	err = p.store.View(ctx, func(r store.Reader) error {
		if err := checkRecords(r); err != nil {
			return err
		}
		p.tokens.load(r)
		rev = r.Revision()
		return nil
	})
	return rev, err
}

// update changes the store and returns once the tokens in memory show the change.
func (p *Provisioning) update(ctx context.Context, fn func(store.Writer) error) error {
	rev, err := p.store.Update(ctx, fn)
	if err != nil {
		return err
	}
	return p.mirror.Wait(ctx, rev)
}

// checkRecords returns an error if a record is damaged without which a decision could be wrong. A damaged token is
// harmless: it authenticates no request.
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
