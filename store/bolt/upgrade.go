package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	bbolt "go.etcd.io/bbolt"

	"sallyport/disk"
)

// upgrades bring a file from the format that is the index to the next one, within one
// transaction.
var upgrades = [format]func(*bbolt.Tx) error{1: addTotals}

// maxFormers is how many copies that upgrades made stay beside the store: the newest.
const maxFormers = 3

// upgrade brings the file to the present format, in one transaction. A copy of the file as
// it was is made first, beside it: whoever has to go back to the former version finds it
// there. A copy of a store is upgraded without one.
func (s *Store) upgrade(db *database, from uint64) error {
	former := ""
	if !s.options.Copy {
		var err error
		if former, err = s.copyFormer(db, from); err != nil {
			return fmt.Errorf("copying %s before it is brought from format %d to %d: %w; nothing was changed", s.path, from, format, err)
		}
	}
	err := db.Update(func(tx *bbolt.Tx) error {
		for n := from; n < format; n++ {
			if err := upgrades[n](tx); err != nil {
				return err
			}
		}
		return tx.Bucket(metaBucket).Put(formatKey, number(format))
	})
	if err != nil {
		return fmt.Errorf("bringing %s from format %d to %d: %w; nothing was changed", s.path, from, format, err)
	}
	s.options.Log.Info("the store was brought to a newer format", "path", s.path, "from", from, "to", format, "copy", former)
	if err := s.removeFormers(); err != nil {
		s.options.Log.Warn("older copies of the store are left", "err", err)
	}
	return nil
}

// addTotals brings format 1 to format 2, which has totals.
func addTotals(tx *bbolt.Tx) error {
	found, _ := countRecords(tx.Bucket(dataBucket))
	return tx.Bucket(metaBucket).Put(totalsKey, found.totals.encode())
}

const formerTime = "20060102T150405.000000Z"

// formerPrefix is how the names of copies begin that upgrades made.
func (s *Store) formerPrefix() string { return s.path + ".format-" }

// copyFormer copies the file. The copy is whole or does not exist.
func (s *Store) copyFormer(db *database, from uint64) (path string, err error) {
	path = fmt.Sprintf("%s%d-%s", s.formerPrefix(), from, time.Now().UTC().Format(formerTime))
	part := s.path + ".upgrading"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(f)
		return err
	})
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = disk.OwnAs(part, s.path)
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	if disk.IsFull(err) {
		err = fmt.Errorf("%w; free some space on its disk", err)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(part))
	}
	return path, syncFolder(filepath.Dir(path))
}

// removeFormers removes all but the newest copies that upgrades made.
func (s *Store) removeFormers() error {
	files, err := os.ReadDir(filepath.Dir(s.path))
	if err != nil {
		return fmt.Errorf("looking for copies of the store in older formats: %w", err)
	}
	made := func(name string) string { return name[strings.LastIndexByte(name, '-')+1:] }
	var names []string
	for _, file := range files {
		if strings.HasPrefix(file.Name(), filepath.Base(s.formerPrefix())) && file.Type().IsRegular() {
			if _, err := time.Parse(formerTime, made(file.Name())); err == nil {
				names = append(names, file.Name())
			}
		}
	}
	slices.SortFunc(names, func(a, b string) int { return bytes.Compare([]byte(made(a)), []byte(made(b))) })
	for len(names) > maxFormers {
		if err := os.Remove(filepath.Join(filepath.Dir(s.path), names[0])); err != nil {
			return fmt.Errorf("removing a copy of the store in an older format: %w", err)
		}
		names = names[1:]
	}
	return nil
}
