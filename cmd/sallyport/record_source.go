package main

import (
	"context"
	"strings"
	"time"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/audit/receipt"
)

// openedRecord is the record at a path, which is searched and not written.
func openedRecord(path string) admin.RecordSource {
	return admin.RecordSource{Open: func() (*audit.Record, error) { return audit.OpenRecord(path) }}
}

// recordSource is the record of this process, for pages.
func (s *server) recordSource() admin.RecordSource {
	path := s.file.Audit.File
	return admin.RecordSource{
		Open: func() (*audit.Record, error) { return audit.OpenRecord(path) },
		Verify: func(ctx context.Context) (audit.Checked, error) {
			known, err := readTrust(ctx, s.components.store, s.components.directory.Replica())
			trust := audit.Trust{Mark: known.Mark}
			if err == nil {
				err = trustKeys(&trust, known.Keys)
			}
			if err != nil {
				return audit.Checked{}, err
			}
			record, err := audit.OpenRecord(path)
			if err != nil {
				return audit.Checked{}, err
			}
			defer record.Close()
			return record.VerifyInBackground(ctx, trust)
		},
		Receipt: func(ctx context.Context, actor admin.Actor, user string, at time.Time) (d admin.ReceiptDocument, err error) {
			made, keyID, signed, err := s.control().signReceipt(ctx, actor, receiptRequest{User: user, At: at})
			if err != nil {
				return d, err
			}
			var page strings.Builder
			err = receipt.WritePage(&page, &made, keyID, signed)
			return admin.ReceiptDocument{JWS: signed, Page: page.String()}, err
		},
	}
}
