package directory

import "time"

// EndedKey returns the key in the store at which the end of a person is remembered.
func EndedKey(at time.Time, key string) []byte { return endedKey(at, key) }

// SetClock replaces the clock of changes.
func (d *Directory) SetClock(now func() time.Time) { d.now = now }

// KeepBytes bounds the history in bytes.
func (d *Directory) KeepBytes(n int64) { d.bounds.Store(&bounds{d.bounds.Load().age, n}) }

// HistoryKey returns the key in the store of what a revision changed.
func HistoryKey(revision uint64) []byte { return historyKey(revision) }
