package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	bbolt "go.etcd.io/bbolt"

	"sallyport/disk"
	"sallyport/store"
	"sallyport/store/internal/checksum"
)

// The file beside the store has two slots, which are written in turn, so that a write
// that is cut short leaves the other slot. It never grows: a full disk does not matter.
const (
	slotSize = 48   // magic (8), revision (8), totals (24), zero (4), checksum (4)
	slotGap  = 4096 // the distance of the slots: they are never on the same page
)

var slotMagic = []byte("sallyrev")

const revisionSuffix = ".revision" // of the file's name, behind the store's

// state is what one commit leaves.
type state struct {
	revision store.Revision
	totals   totals
}

// acknowledged is the file that says which state was acknowledged last. If the newest
// meta page of a store is lost, bbolt goes on from the commit before, and nothing in
// the store itself shows that. A nil *acknowledged keeps nothing.
type acknowledged struct {
	path string
	file *os.File
	slot int64 // the slot to write next
}

// openAcknowledged opens the file beside the store at path, to read it or to write it too.
// last is the newest state in it; ok is false if there is no such file yet.
func openAcknowledged(path string, flag int) (a *acknowledged, last state, ok bool, err error) {
	a = &acknowledged{path: path + revisionSuffix}
	if a.file, err = os.OpenFile(a.path, flag, 0); errors.Is(err, os.ErrNotExist) {
		return a, last, false, checkMetaPages(path)
	}
	if err != nil {
		return nil, last, false, fmt.Errorf("opening what says which revision was acknowledged: %w; the server must be able to read and write the file", err)
	}
	for slot := range int64(2) {
		text := make([]byte, slotSize)
		if _, err := a.file.ReadAt(text, slot*slotGap); err != nil {
			continue
		}
		if s, valid := decodeSlot(text); valid && (!ok || s.revision >= last.revision) {
			last, ok, a.slot = s, true, 1-slot
		}
	}
	if !ok {
		return a, last, false, fmt.Errorf("%w: %s is damaged, so that it cannot be told whether the newest changes are lost", store.ErrBehind, a.path)
	}
	return a, last, true, nil
}

// Acknowledged returns the newest revision that was acknowledged for the store at path, as
// the file beside it says; 0 if there is no such file, or it cannot be read.
func Acknowledged(path string) store.Revision {
	a, last, ok, _ := openAcknowledged(path, os.O_RDONLY)
	_ = a.close()
	if !ok {
		return 0
	}
	return last.revision
}

// CheckAcknowledged returns an error that is [store.ErrBehind] if the store lacks a change that
// was acknowledged, or if nobody can tell. It writes nothing: a store that was opened to be
// read is not checked otherwise.
func (s *Store) CheckAcknowledged() error {
	var now state
	err := s.view(func(tx *bbolt.Tx) error {
		now = stateOf(tx)
		if written, err := s.readFormat(tx); err != nil || written > 1 {
			return err
		}
		found, _ := countRecords(tx.Bucket(dataBucket)) // format 1 has no totals
		now.totals = found.totals
		return nil
	})
	if err != nil {
		return err
	}
	a, last, ok, err := openAcknowledged(s.path, os.O_RDONLY)
	defer func() { _ = a.close() }()
	if err != nil || !ok {
		return err
	}
	return a.compare(now, last)
}

// ForgetAcknowledged removes the file beside the store at path that says what was acknowledged.
// Whoever calls it has put another store there, whose revision is greater.
func ForgetAcknowledged(path string) error {
	if err := os.Remove(path + revisionSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// checkMetaPages demands that both meta pages of the store at path are valid: if nothing
// says what was acknowledged, the one that is not may have been the newest.
func checkMetaPages(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, offset := range []int64{0, int64(os.Getpagesize())} {
		if _, ok := readMetaAt(f, offset); !ok {
			return fmt.Errorf("%w: a meta page is damaged, and %s.revision, which says what was acknowledged, is missing", store.ErrBehind, path)
		}
	}
	return nil
}

// compare returns an error if the store has the state now, and is older than or another
// than one that has acknowledged last.
func (a *acknowledged) compare(now, last state) error {
	switch {
	case now.revision < last.revision:
		return fmt.Errorf("%w: the store is at revision %d, and revision %d was acknowledged (%s); ended sessions, revoked tokens and suspensions may be among what is lost",
			store.ErrBehind, now.revision, last.revision, a.path)
	case now.revision == last.revision && now.totals != last.totals:
		return fmt.Errorf("%w: revision %d is not the one that was acknowledged (%s)", store.ErrBehind, now.revision, a.path)
	}
	return nil
}

// write forces to the disk that s is about to be acknowledged.
func (a *acknowledged) write(s state) error {
	if a == nil {
		return nil
	}
	if a.file == nil {
		return a.create(s)
	}
	if _, err := a.file.WriteAt(encodeSlot(s), a.slot*slotGap); err != nil {
		return fmt.Errorf("writing which revision is acknowledged: %w", err)
	}
	if err := syncData(a.file); err != nil {
		return fmt.Errorf("writing which revision is acknowledged: %w", err)
	}
	a.slot = 1 - a.slot
	return nil
}

// create makes the file with both slots. It is whole or does not exist.
func (a *acknowledged) create(s state) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("making the file that says which revision is acknowledged: %w", err)
		}
	}()
	text := make([]byte, 2*slotGap)
	copy(text, encodeSlot(s))
	copy(text[slotGap:], encodeSlot(s))
	f, err := os.OpenFile(a.path+".part", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, disk.OwnAs(a.path+".part", strings.TrimSuffix(a.path, revisionSuffix)), f.Sync()); err == nil {
		err = os.Rename(a.path+".part", a.path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(a.path))
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	a.file = f
	return nil
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (a *acknowledged) close() error {
	if a == nil || a.file == nil {
		return nil
	}
	return a.file.Close()
}

func encodeSlot(s state) []byte {
	text := append([]byte{}, slotMagic...)
	text = binary.BigEndian.AppendUint64(text, uint64(s.revision))
	text = append(text, s.totals.encode()...)
	text = append(text, 0, 0, 0, 0)
	return binary.BigEndian.AppendUint32(text, checksum.Of(nil, text))
}

func decodeSlot(text []byte) (s state, ok bool) {
	body := text[:slotSize-4]
	if string(body[:8]) != string(slotMagic) || binary.BigEndian.Uint32(text[slotSize-4:]) != checksum.Of(nil, body) {
		return s, false
	}
	s.revision = store.Revision(binary.BigEndian.Uint64(body[8:]))
	s.totals, ok = decodeTotals(body[16:40])
	return s, ok
}
