package directory

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"sallyport/store"
)

// maxRecords is how many records of changes the store keeps.
const maxRecords = 10_000

// Record is the record of a change, committed with the change itself.
type Record struct {
	Revision uint64          `json:"-"`
	Received time.Time       `json:"received"` // when the request that made the change arrived
	Event    json.RawMessage `json:"event"`    // the audit event; this package does not read it

	Origin // zero if one process alone uses the store
}

// Origin says which replica made a change, and which change was recorded before it.
type Origin struct {
	Replica       string `json:"replica,omitempty"`
	Former        uint64 `json:"former,omitempty"` // the revision of the record before; 0 if there is none
	FormerReplica string `json:"former_replica,omitempty"`

	For   string `json:"for,omitempty"`   // the lost replica that made the change, if another one records it
	Doubt bool   `json:"doubt,omitempty"` // the lost replica may have recorded it all the same
}

// Record stores rec together with the change under way.
func (tx *Tx) Record(rec Record) error {
	rec.Replica = tx.replica
	return PutRecord(tx.w, rec)
}

// PutRecord stores rec by the revision that w makes. If a replica makes the change, that replica has it to write into its
// audit record: see [Directory.Unrecorded]. PutRecord deletes a few of the oldest
// records beyond maxRecords.
func PutRecord(w store.Writer, rec Record) error {
	revision := uint64(w.Revision())
	if rec.Replica != "" {
		if err := rec.follow(w, revision); err != nil {
			return err
		}
	}
	value, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encoding the record of a change: %w", err)
	}
	if rec.Replica != "" {
		if err := w.Put(unrecordedKey(rec.Replica, revision), value); err != nil {
			return err
		}
	}
	if err := w.Put(recordKey(revision), value); err != nil {
		return err
	}
	if revision <= maxRecords {
		return nil
	}
	var old [][]byte
	for e := range w.Scan([]byte(recordKeys), nil) {
		if len(old) == 4 || string(e.Key) > string(recordKey(revision-maxRecords)) {
			break
		}
		old = append(old, e.Key)
	}
	for _, key := range old {
		if err := w.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// HasRecordFrom reports whether a record of a change at or after revision is
// stored.
func HasRecordFrom(r store.Reader, revision uint64) (bool, error) {
	for _, err := range r.Scan([]byte(recordKeys), recordKey(revision)) {
		return err == nil, err
	}
	return false, nil
}

// recordBatch bounds how long one read transaction of Records lasts.
const recordBatch = 256

// Records yields the stored records of changes after a revision, in order, and
// waits for more until ctx ends.
func (d *Directory) Records(ctx context.Context, after uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for {
			seen := d.mirror.Revision() // read before the records, or one in between is missed
			var batch []Record
			err := store.UntilReachable(ctx, func() (err error) {
				batch, err = d.recordsAfter(ctx, after)
				return err
			})
			if err != nil {
				yield(Record{}, err)
				return
			}
			for _, rec := range batch {
				if !yield(rec, nil) {
					return
				}
				after = rec.Revision
			}
			if len(batch) > 0 {
				continue
			}
			if err := d.mirror.Wait(ctx, seen+1); err != nil {
				yield(Record{}, stale(err))
				return
			}
		}
	}
}

func (d *Directory) recordsAfter(ctx context.Context, after uint64) (batch []Record, err error) {
	err = d.store.View(ctx, func(r store.Reader) error {
		for rec, err := range RecordsAfter(r, after) {
			if err != nil {
				return err
			}
			if batch = append(batch, rec); len(batch) == recordBatch {
				return nil
			}
		}
		return nil
	})
	return batch, err
}

// RecordsAfter yields the stored records of changes after a revision, in order. It ends with the first error.
func RecordsAfter(r store.Reader, after uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for e, err := range r.Scan([]byte(recordKeys), recordKey(after+1)) {
			var rec Record
			if err == nil {
				rec, err = decodeRecord(e)
			}
			if !yield(rec, err) || err != nil {
				return
			}
		}
	}
}

func decodeRecord(e store.Entry) (rec Record, err error) {
	if len(e.Key) != len(recordKeys)+8 {
		return Record{}, errors.New("the key of a change's record is not a revision")
	}
	rec.Revision = binary.BigEndian.Uint64(e.Key[len(recordKeys):])
	return rec, json.Unmarshal(e.Value, &rec)
}

// Receipt tells when the request that made a revision arrived.
type Receipt struct {
	Revision uint64
	Received time.Time
}

// receipt is a Receipt with the users of the change.
type receipt struct {
	Receipt
	users []string // whom the change is about, by id; nil: possibly anybody
}

const (
	maxReceipts     = 1024 // how many of the newest receipts memory keeps at least
	maxReceiptUsers = 256  // of one receipt: a change of more users may be about anybody
)

// receiptsOf returns the receipts of a change, with the users whom it writes and those of whom it writes memberships.
func receiptsOf(change store.Change) (receipts []receipt) {
	users := map[string]bool{}
	for _, w := range change.Writes {
		key := string(w.Key)
		switch {
		case strings.HasPrefix(key, userKeys):
			id, _ := idIn(w.Key, userKeys, 0)
			users[id] = true
		case strings.HasPrefix(key, memberOfKeys):
			if member, _, ok := edgeOf(w.Key); ok {
				users[member] = true
			}
		case strings.HasPrefix(key, recordKeys) && !w.Deleted:
			var received time.Time
			if json.Unmarshal(AttributeOf(w.Value, "received"), &received) == nil {
				receipts = append(receipts, receipt{Receipt: Receipt{uint64(change.Revision), received}})
			}
		}
	}
	for i := range receipts {
		if len(users) <= maxReceiptUsers {
			receipts[i].users = slices.AppendSeq([]string{}, maps.Keys(users))
		}
	}
	return receipts
}

// widenReceipts says of the change that made revision that it may be about anybody.
func (d *Directory) widenReceipts(revision store.Revision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.receipts {
		if d.receipts[i].Revision == uint64(revision) {
			d.receipts[i].users = nil
		}
	}
}

func (d *Directory) addReceipts(receipts []receipt) {
	if len(receipts) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.receipts = append(d.receipts, receipts...)
	if len(d.receipts) >= 2*maxReceipts { // not with each change: it moves all others
		d.receipts = slices.Delete(d.receipts, 0, len(d.receipts)-maxReceipts)
	}
}

// ReceivedAfter returns when the request that made the first change after revision
// arrived. It knows the newest changes only.
func (d *Directory) ReceivedAfter(revision uint64) (time.Time, bool) {
	r, ok := d.firstReceipt(func(r receipt) bool { return r.Revision > revision })
	return r.Received, ok
}

// ReceiptOf returns the receipt of the first change after revision that is about a
// user. It knows the newest changes only. A change that no request made, such as a
// suspension, has none.
func (d *Directory) ReceiptOf(user string, revision uint64) (Receipt, bool) {
	return d.firstReceipt(func(r receipt) bool {
		return r.Revision > revision && (r.users == nil || slices.Contains(r.users, user))
	})
}

func (d *Directory) firstReceipt(is func(receipt) bool) (Receipt, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if i := slices.IndexFunc(d.receipts, is); i >= 0 {
		return d.receipts[i].Receipt, true
	}
	return Receipt{}, false
}
