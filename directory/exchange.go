package directory

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
)

// keptExchanges is how many exchanges of the provisioning log are kept.
const keptExchanges = 10_000

func exchangeKey(n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(exchangeKeys), n)
}

// AppendExchanges adds entries, opaque here, to the provisioning log, the oldest
// first, and drops what is beyond the kept number.
func (d *Directory) AppendExchanges(ctx context.Context, entries []json.RawMessage) error {
	entries = entries[max(0, len(entries)-keptExchanges):]
	err := d.Update(ctx, func(tx *Tx) error {
		had, err := tx.count(exchangesCounted)
		if err != nil {
			return err
		}
		for i, entry := range entries {
			n := uint64(had + i)
			if err := tx.w.Put(exchangeKey(n), entry); err != nil {
				return err
			}
			if n >= keptExchanges {
				if err := tx.w.Delete(exchangeKey(n - keptExchanges)); err != nil {
					return err
				}
			}
		}
		return tx.addCount(exchangesCounted, len(entries))
	})
	if err != nil {
		return fmt.Errorf("keeping the provisioning log: %w", err)
	}
	return nil
}

// Exchanges are the newest entries of the provisioning log, at most n, the newest first.
func (d *Directory) Exchanges(ctx context.Context, n int) (entries []json.RawMessage, err error) {
	err = d.View(ctx, func(tx *Tx) error {
		entries = nil
		count, err := tx.count(exchangesCounted)
		if err != nil {
			return err
		}
		from := uint64(max(0, count-max(0, n)))
		for e, err := range tx.r.Scan([]byte(exchangeKeys), exchangeKey(from)) {
			if err != nil {
				return err
			}
			entries = append(entries, slices.Clone(e.Value))
		}
		return nil
	})
	slices.Reverse(entries)
	return entries, err
}
