package bolt

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"sallyport/disk"
	"sallyport/store"
)

// How many bytes the file grows by.
const (
	leastGrowth = 64 << 10 // on a disk that is nearly full
	minGrowth   = 1 << 20
	maxGrowth   = 16 << 20
	maxDoubling = 6 // for a transaction that needs more
)

// space is the part of the file that transactions may use. Blocks are allocated before a
// page is written into them, so a full disk makes no commit fail: it is found out before
// anything is written. The last bytes are a reserve, which only urgent updates may use.
type space struct {
	mu       sync.Mutex // guards the fields below; held while the file grows
	reserve  int64      // 0: there is none, and bbolt makes the file grow
	size     int64      // of the file
	doubling int        // how often the file has grown since the last commit
	full     error      // why the file cannot grow; nil if it can
}

// open begins to keep a reserve in a file of which bbolt uses the first bytes. A file
// system that cannot allocate blocks has none.
func (p *space) open(db *database, used, want int64) error {
	p.reserve = disk.Reserve(db.file, want)
	if p.reserve == 0 {
		return nil
	}
	info, err := db.file.Stat()
	if err != nil {
		return err
	}
	p.size = info.Size()
	if !disk.IsWhole(db.file) { // an older version left an end without blocks
		p.size = min(p.size, used+int64(os.Getpagesize()))
		if err := db.file.Truncate(p.size); err != nil {
			return fmt.Errorf("shortening the store's file: %w", err)
		}
	}
	if p.size < used+p.reserve {
		if err := p.grow(db, used); errors.Is(err, errors.ErrUnsupported) {
			p.reserve, p.full = 0, nil
		}
	}
	return nil
}

// bound has bbolt make the file exactly as long as it needs, within its blocks, or by large
// steps if there is no reserve.
func (p *space) bound(db *database) {
	db.AllocSize = maxGrowth
	if p.reserve > 0 {
		db.AllocSize = 0
	}
}

// limit returns how long a transaction may make the file, as bbolt's MaxSize. While the
// disk is full it returns an error for a transaction that is not urgent.
func (p *space) limit(urgent bool) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.reserve == 0:
		return 0, nil // no limit
	case p.full == nil:
		return int(max(1, p.size-p.reserve)), nil
	case urgent:
		return int(p.size), nil
	}
	return 0, p.full
}

// whole returns how long a transaction may make the file that may use the reserve.
func (p *space) whole() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reserve == 0 {
		return 0 // no limit
	}
	return int(p.size)
}

func (p *space) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.full
}

func (p *space) committed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doubling = 0
}

// grow makes the file longer, beyond the reserve. If it cannot, the disk counts as full
// until refill succeeds.
func (p *space) grow(db *database, used int64) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	growth := min(max(p.size/16, minGrowth), maxGrowth) << min(p.doubling, maxDoubling)
	for ; growth >= leastGrowth; growth /= 2 {
		if err = p.extend(db, max(p.size, used+p.reserve)+growth); err == nil {
			p.doubling++
			p.full = nil
			return nil
		}
	}
	p.full = fmt.Errorf("%w (%w)", store.ErrFull, err)
	return p.full
}

// extend makes the file size bytes long; mu is held.
func (p *space) extend(db *database, size int64) error {
	if err := disk.Extend(db.file, p.size, size); err != nil {
		return err
	}
	p.size = size
	return nil
}
