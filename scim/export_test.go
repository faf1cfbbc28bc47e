package scim

import (
	"context"
	"time"

	"sallyport/directory"
	"sallyport/store"
)

// WriteLog writes the provisioning log now.
func (s *Server) WriteLog(ctx context.Context) { _ = s.writeLog(ctx) }

// PutHold stores a hold.
func (p *Provisioning) PutHold(ctx context.Context, h Hold) error {
	return p.directory.Update(ctx, func(tx *directory.Tx) error { return writeHold(tx.Writer(), h) })
}

// Secret returns the key of a purpose.
func (p *Provisioning) Secret(ctx context.Context, purpose string) ([]byte, error) {
	return p.secret(ctx, purpose)
}

// Deactivations counts the logged deactivations from since on.
func (p *Provisioning) Deactivations(ctx context.Context, since time.Time) (n int, err error) {
	err = p.store.View(ctx, func(r store.Reader) error {
		n, _, err = countDeactivations(r, since, 100)
		return err
	})
	return n, err
}
