package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"time"

	"sallyport/backup"
	"sallyport/grant"
	"sallyport/session"
	"sallyport/store"
)

// backupHolds says of the keys with each prefix whether backups hold their records. What is not here is in no backup.
//
// A backup holds nothing that would be valid again after it ended: sessions and tickets, keys of identity providers. It holds
// nothing that opens something: private keys, certificates, keys of cursors. [clearCopy] changes what it holds otherwise.
var backupHolds = map[string]bool{
	"user/": true, "group/": true, "member/": true, "memberof/": true,
	"name/": true, "gname/": true, "gext/": true, "ext/": true, "mail/": true, "dname/": true,
	"count/": true, "record/": true, "newest/": true, "suspended/": true, "absent/": true, "history/": true, "ended/": true,
	"request/": true, "grants/": true, "revoked/": true, "unrevoked/": true, "review/": true, "reviewrow/": true, "reviewkey/": true,
	"pins/":  true,
	"token/": true, "held/": true, "left/": true, "exchange/": true,
	"auditkey/": true,

	"armed/": false, "secret/": false, "session/": false, "signing/": false, "acme/": false, "issuer/": false, "audit/": false, "unrecorded/": false, "backup/": false, "copying/": false, "ask/": false,
}

// backupPrefix returns which prefix of [backupHolds] a key would have.
func backupPrefix(key []byte) string { return string(key[:bytes.IndexByte(key, '/')+1]) }

// heldByBackup yields the records that a backup holds. It calls unknown with each key that nothing is known of.
func heldByBackup(records iter.Seq2[store.Entry, error], unknown func(key []byte)) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for e, err := range records {
			held, known := backupHolds[backupPrefix(e.Key)]
			if len(e.Key) == 0 { // an error that is about no record
				held, known = true, true
			}
			if !known {
				unknown(e.Key)
			}
			if held && !yield(e, err) {
				return
			}
		}
	}
}

// clearCopy deletes or ends what must not be valid in a copy of the store: what ended since, and private keys.
func clearCopy(w store.Writer, now time.Time) error {
	return errors.Join(session.Clear(w), grant.Clear(w, now), deleteIssuerKeys(w), clearAuditKeys(w))
}

// backuper writes backups of a store.
type backuper struct {
	store store.Store
	log   *slog.Logger
}

// Backup writes a stream of what a backup holds, at the newest revision.
func (b backuper) Backup(ctx context.Context, out io.Writer) error {
	header := backup.Header{Made: time.Now().UTC(), Version: version}
	unknown := 0
	err := b.store.View(ctx, func(r store.Reader) error {
		header.Revision = uint64(r.Revision())
		edit := backup.NewEdit(r)
		if err := errors.Join(grant.Clear(edit, header.Made), clearAuditKeys(edit)); err != nil {
			return err
		}
		_, err := backup.Write(contextWriter{ctx, out}, header, heldByBackup(edit.Scan(nil, nil), func([]byte) { unknown++ }))
		return err
	})
	if unknown > 0 {
		b.log.Warn("the store has records that this version does not know; they are not in the backup", "records", unknown)
	}
	if errors.Is(err, store.ErrDamaged) {
		return fmt.Errorf("%w; `sallyport store check` with the server stopped names every damaged record; restore an earlier backup", err)
	}
	return err
}

// contextWriter is a writer that fails once its context has ended.
type contextWriter struct {
	ctx context.Context
	out io.Writer
}

func (c contextWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.out.Write(p)
}
