package directory

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"sallyport/store"
)

// maxHistory bounds the records of the history together, in bytes. The oldest go first.
const maxHistory = 1 << 30

// How many of the oldest records each change deletes at most: of those that are too old,
// of those that make room for it on a full disk, and of those that are too many.
const (
	prunedOld  = 4
	prunedFull = 16
	prunedMany = 256
)

// KeepHistory sets for how long changes are remembered, instead of [DefaultRetention]; 0
// remembers none, and has the next change forget those that were.
func (d *Directory) KeepHistory(keep Retention) {
	d.bounds.Store(&bounds{time.Duration(keep), d.bounds.Load().size})
}

// bounds are those of the history. They are replaced, never altered.
type bounds struct {
	age  time.Duration
	size int64 // of the records together, in bytes
}

// historyHead is the record at history/head. It is written with each record of the
// history.
//
// What must hold: the records of the revisions from First to Last undo every change of
// the directory between. So the head has sums over all that the history is about: a
// program that changes the directory without writing history leaves other sums, and then
// the history begins anew.
type historyHead struct {
	Begins time.Time `json:"begins"`          // of the newest change that cannot be undone; at the beginning, of the first change
	Since  uint64    `json:"since"`           // the revision of that change; at the beginning, 0
	First  uint64    `json:"first"`           // older records are of no use
	Last   uint64    `json:"last"`            // the newest record
	Oldest time.Time `json:"oldest"`          // no record since First is older
	Bytes  int64     `json:"bytes"`           // of keys and values since First
	Stale  bool      `json:"stale,omitempty"` // there may be records before First

	Sums     sums `json:"sums"`
	Unsummed bool `json:"unsummed,omitempty"` // a damaged record was replaced, and the sums are not known
}

// sums are over the records that the history is about.
type sums struct {
	Records   uint64 `json:"records"`
	Checksums uint64 `json:"checksums"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, record []byte) uint64 {
	return uint64(crc32.Update(crc32.Update(0, castagnoli, key), castagnoli, record))
}

func (s *sums) add(key, record []byte) {
	s.Records++
	s.Checksums += checksum(key, record)
}

func (s *sums) remove(key, record []byte) {
	s.Records--
	s.Checksums -= checksum(key, record)
}

// baseline is what was found when everything was read, or what a change left of which no
// history was written.
type baseline struct {
	revision uint64
	sums     sums
	damaged  bool // some records were, so that the sums mean nothing
	gap      bool // the directory was changed without writing history
}

// newBaseline compares what was read with the head of the history in r.
func newBaseline(r store.Reader, read sums, damaged bool) *baseline {
	b := &baseline{revision: uint64(r.Revision()), sums: read, damaged: damaged}
	if h, ok, err := readHead(r); err == nil && ok {
		b.gap = !damaged && !h.Unsummed && h.Sums != read
	}
	return b
}

// breaks reports whether the history that ends with h is not that of the directory.
func (b *baseline) breaks(h *historyHead) bool { return b.gap && h.Last <= b.revision }

var historyHeadKey = []byte(historyKeys + "head")

func historyKey(revision uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(historyKeys), revision)
}

// historyRevision is the inverse of historyKey. ok is false for the head, which comes
// after all revisions that there can be.
func historyRevision(key []byte) (revision uint64, ok bool) {
	if len(key) != len(historyKeys)+8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(key[len(historyKeys):]), true
}

// readHead returns the head; ok is false if there is none. A damaged one is an error.
func readHead(r store.Reader) (h historyHead, ok bool, err error) {
	record, err := r.Get(historyHeadKey)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return h, false, nil
	case err != nil:
		return h, false, err
	}
	if err := json.Unmarshal(record, &h); err != nil {
		return h, false, fmt.Errorf("%w: %w", store.ErrDamaged, err)
	}
	return h, true, nil
}

// recorder is the writer of a change of the directory. It remembers what each key held
// that the history is about.
type recorder struct {
	store.Writer
	directory *Directory
	changes   map[string]keyChange
	forget    bool // the history ends before this change, and nothing is written of it
	urgent    bool
}

type keyChange struct{ before, after value }

// Urgent implements [store.Urgent].
func (w *recorder) Urgent() {
	w.urgent = true
	store.Urgent(w.Writer)
}

// Put implements [store.Writer].
func (w *recorder) Put(key, record []byte) error {
	if err := w.note(key, wholeValue(record)); err != nil {
		return err
	}
	return w.Writer.Put(key, record)
}

// Delete implements [store.Writer].
func (w *recorder) Delete(key []byte) error {
	if err := w.note(key, value{}); err != nil {
		return err
	}
	return w.Writer.Delete(key)
}

// note remembers what key holds, and that it gets the value after.
func (w *recorder) note(key []byte, after value) error {
	if _, ok := formerOf(key); !ok {
		return nil
	}
	c, ok := w.changes[string(key)]
	if !ok {
		var err error
		if c.before, err = valueAt(w.Writer, key); err != nil {
			return err
		}
	}
	c.after = after
	if w.changes == nil {
		w.changes = map[string]keyChange{}
	}
	w.changes[string(key)] = c
	return nil
}

// valueAt returns what key holds.
func valueAt(r store.Reader, key []byte) (value, error) {
	record, err := r.Get(key)
	switch {
	case err == nil:
		return wholeValue(record), nil
	case errors.Is(err, store.ErrNotFound):
		return value{}, nil
	case errors.Is(err, store.ErrDamaged):
		return value{state: unknown}, nil
	}
	return value{}, err
}

// finish writes the record of the history, after all other writes.
func (w *recorder) finish(now time.Time, cause Cause) error {
	c := pastChange{revision: uint64(w.Revision()), time: now, cause: cause.bounded()}
	for key, change := range w.changes {
		if change.before.state != unknown && sameValue(change.before, change.after) {
			delete(w.changes, key)
			continue
		}
		f, _ := formerOf([]byte(key))
		f.state = change.before.state
		if f.state == whole {
			f.delta = newDelta(change.after.bytes, change.before.bytes)
		}
		c.formers = append(c.formers, f)
	}
	switch {
	case len(c.formers) == 0:
		return nil
	case w.directory.bounds.Load().age <= 0:
		w.breakHistory(c.revision)
		return w.endHistory()
	case w.forget:
		w.breakHistory(c.revision)
		return nil
	}
	h, err := w.head(&c)
	if err != nil {
		return err
	}
	w.sum(&h)
	h.Last = c.revision
	slices.SortFunc(c.formers, compareFormers)
	record := c.encode()
	if err := w.Writer.Put(historyKey(c.revision), record); err != nil {
		return err
	}
	h.Bytes += historySize(record)
	if h.Oldest.IsZero() || c.time.Before(h.Oldest) {
		h.Oldest = c.time
	}
	if err := w.prune(&h, c.time, historySize(record)); err != nil {
		return err
	}
	return writeHead(w.Writer, &h)
}

// PutBreak says that changes of the directory are lost: the store was replaced by an older
// one. What it holds was true until known at least, and from then on until at the history
// knows nothing.
func PutBreak(w store.Writer, at, known time.Time) error {
	h, ok, err := readHead(w)
	if err == nil && !ok || errors.Is(err, store.ErrDamaged) { // the history begins with the next change
		return nil
	}
	if err != nil {
		return err
	}
	if known.Before(time.Unix(0, 0)) || known.After(at) { // it is not known, or is wrong
		known = time.Unix(0, 0)
	}
	record := encodeBreak(at, known)
	h.Last, h.Bytes = uint64(w.Revision()), h.Bytes+historySize(record)
	if at.Before(h.Oldest) {
		h.Oldest = at
	}
	return errors.Join(w.Put(historyKey(h.Last), record), writeHead(w, &h))
}

// historySize returns how much a record counts, in bytes.
func historySize(record []byte) int64 { return int64(len(historyKeys) + 8 + len(record)) }

func writeHead(w store.Writer, h *historyHead) error {
	record, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encoding the head of the history: %w", err)
	}
	return w.Put(historyHeadKey, record)
}

// head returns the head before the change c. If there is none that can be used, the
// history begins with c.
func (w *recorder) head(c *pastChange) (historyHead, error) {
	h, ok, err := readHead(w.Writer)
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return h, err
	}
	b := w.directory.baseline.Load()
	if !ok || b.breaks(&h) {
		return historyHead{Begins: c.time, First: c.revision, Stale: true, Sums: b.sums, Unsummed: b.damaged || err != nil}, nil
	}
	if h.Unsummed && !b.damaged && h.Last <= b.revision { // nothing was changed since everything was read
		h.Sums, h.Unsummed = b.sums, false
	}
	return h, nil
}

// sum brings the sums up to date.
func (w *recorder) sum(h *historyHead) {
	for key, c := range w.changes {
		switch c.before.state {
		case whole:
			h.Sums.remove([]byte(key), c.before.bytes)
		case unknown:
			h.Unsummed = true
		}
		if c.after.state == whole {
			h.Sums.add([]byte(key), c.after.bytes)
		}
	}
}

// breakHistory has no later change go on with the history, since none is written of a revision. It is called before the
// commit.
func (w *recorder) breakHistory(revision uint64) {
	w.directory.baseline.Store(&baseline{revision: revision, damaged: true, gap: true})
}

// endHistory deletes the head, and some records: nothing can be undone any more.
func (w *recorder) endHistory() error {
	if err := w.Writer.Delete(historyHeadKey); err != nil {
		return err
	}
	var old [][]byte
	for e := range w.Scan([]byte(historyKeys), nil) { // also damaged ones
		if len(old) == prunedMany {
			break
		}
		old = append(old, slices.Clone(e.Key))
	}
	return w.deleteAll(old)
}

func (w *recorder) deleteAll(keys [][]byte) error {
	for _, key := range keys {
		if err := w.Writer.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// prune deletes a few of the oldest records that are beyond the bounds of time and size,
// or of no use: of those beyond the bound of size, more than the change added. It reads
// records only if there may be such.
func (w *recorder) prune(h *historyHead, now time.Time, added int64) error {
	limit, full := *w.directory.bounds.Load(), w.directory.diskFull()
	if !h.Stale && !full && now.Sub(h.Oldest) <= limit.age && h.Bytes <= limit.size {
		return nil
	}
	p := pruning{head: h, now: now, bounds: limit, full: full, added: added}
	for e, err := range w.Scan([]byte(historyKeys), nil) {
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		if !p.oldest(e, err) {
			break
		}
	}
	if p.unreadable {
		h.Begins = now
	}
	return w.deleteAll(p.old)
}

// diskFull reports whether the store says that its disk is full. The changes that it still
// accepts need the space more than old records of the history.
func (d *Directory) diskFull() bool {
	st, ok := d.store.(interface{ Err() error })
	return ok && errors.Is(st.Err(), store.ErrFull)
}

// pruning chooses the records to delete.
type pruning struct {
	head   *historyHead
	now    time.Time
	bounds bounds
	full   bool  // the disk is
	added  int64 // by the change, in bytes

	old        [][]byte
	dropped    int   // of old, those since First
	freed      int64 // by them, in bytes
	unreadable bool  // the last of them, so that its time is not known
}

// oldest looks at the oldest record that is not yet chosen. It reports whether the record
// is chosen.
func (p *pruning) oldest(e store.Entry, damage error) (chosen bool) {
	h := p.head
	revision, ok := historyRevision(e.Key)
	if ok && revision < h.First {
		if len(p.old) < prunedMany {
			p.old = append(p.old, slices.Clone(e.Key))
			return true
		}
		return false
	}
	h.Stale = false
	if !ok { // the head; there is no other record
		return false
	}
	c, _, readable := decodePastTime(e.Value)
	if readable = readable && damage == nil; readable && p.dropped > 0 {
		h.Oldest = c.time
		if p.now.Before(h.Oldest) { // the clock was set back since
			h.Oldest = p.now
		}
		if p.unreadable {
			h.Begins, p.unreadable = h.Oldest, false
		}
	}
	old := p.now.Sub(h.Oldest) > p.bounds.age && p.dropped < prunedOld || p.full && p.dropped < prunedFull
	few := p.dropped < prunedMany || p.freed < 2*p.added
	if many := h.Bytes > p.bounds.size && few; !old && !many {
		return false
	}
	p.old, p.dropped = append(p.old, slices.Clone(e.Key)), p.dropped+1
	h.Bytes, p.freed = h.Bytes-historySize(e.Value), p.freed+historySize(e.Value)
	h.Since, h.First = revision, revision+1
	if p.unreadable = !readable; readable {
		h.Begins = c.time
	}
	return true
}
