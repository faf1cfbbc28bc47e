package sink

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sallyport/audit"
	"sallyport/disk"
)

// cursor is the file that remembers up to where a sink has sent the record.
type cursor struct {
	path   string
	record string
	there  bool // the file has what was saved last
	saved  audit.Place
}

// newCursor returns the cursor of the sink called name, which lies beside the record.
func newCursor(record, name string) cursor {
	return cursor{path: record + "." + name + ".cursor", record: record}
}

// errDamagedCursor means that a cursor cannot be read.
var errDamagedCursor = errors.New("is damaged")

// load returns what was saved last. If there is nothing, the error is [fs.ErrNotExist].
func (c *cursor) load() (audit.Place, error) {
	text, err := os.ReadFile(c.path)
	if err != nil {
		return audit.Place{}, err
	}
	var at audit.Place
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&at); err != nil || at.Offset < 0 || (at.Line == 0) != (at.Hash == "") {
		return audit.Place{}, fmt.Errorf("%s %w", c.path, errDamagedCursor)
	}
	c.there, c.saved = true, at
	return at, nil
}

// save writes the cursor so that a crash leaves the former or the new one.
func (c *cursor) save(at audit.Place) error {
	if c.there && at == c.saved {
		return nil
	}
	text, err := json.Marshal(at)
	if err != nil {
		return err
	}
	next := c.path + ".new"
	if err := writeSynced(next, append(text, '\n')); err != nil {
		return err
	}
	_ = disk.OwnAs(next, c.record)
	if err := os.Rename(next, c.path); err != nil {
		return err
	}
	if folder, err := os.Open(filepath.Dir(c.path)); err == nil {
		_, _ = folder.Sync(), folder.Close()
	}
	c.there, c.saved = true, at
	return nil
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// begin returns where a sink goes on: after what it sent last, or, if it never sent anything, where the settings
// have a new one begin.
func (c *cursor) begin(from string, end audit.Place) (at audit.Place, isNew bool, err error) {
	at, err = c.load()
	if !errors.Is(err, fs.ErrNotExist) {
		return at, false, err
	}
	if from == fromStart {
		end = audit.Place{}
	}
	return end, true, c.save(end)
}
