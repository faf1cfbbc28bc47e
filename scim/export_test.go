package scim

import (
	"context"

	"sallyport/directory"
)

// WriteLog writes the provisioning log now.
func (s *Server) WriteLog(ctx context.Context) { s.writeLog(ctx) }

// PutHold stores a hold.
func (p *Provisioning) PutHold(ctx context.Context, h Hold) error {
	return p.directory.Update(ctx, func(tx *directory.Tx) error { return writeHold(tx.Writer(), h) })
}
