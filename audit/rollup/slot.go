package rollup

import (
	"slices"
	"time"
)

// resolution is how finely times are kept, and for how long.
type resolution struct {
	step     time.Duration
	slots    int
	maxCells int
}

var resolutions = []resolution{
	{5 * time.Second, 725, 512},
	{time.Minute, 1445, 512},
	{15 * time.Minute, 1350, 1024},
	{24 * time.Hour, 401, 1024},
}

// ring is the newest slots of one resolution.
type ring struct {
	resolution
	newest int64 // the number of the newest slot
	slots  []slot

	last        *slot // that at returned last: most events come soon after another
	from, until int64 // the times of last, in seconds
}

func newRings() (all []*ring) {
	for _, r := range resolutions {
		all = append(all, &ring{resolution: r, slots: make([]slot, r.slots)})
	}
	return all
}

// slot is what happened during one step. Its number counts steps since 1970.
type slot struct {
	number   int64
	cells    []cell // by key
	seconds  *histogram
	sessions int32 // the most that were seen; 0 without samples
	live     int32
	samples  bool
	pushes   uint32
	cuts     uint32
}

// cell counts the requests of one route that were decided one way for one reason.
type cell struct{ key, count uint32 }

// cellKey returns the key of a cell: the route, the reason (7 bits) and whether it is allowed.
func cellKey(route, reason uint32, allow bool) uint32 {
	key := route<<8 | reason<<1
	if allow {
		key |= 1
	}
	return key
}

// number returns the number of the slot that has a time in seconds.
func (r *ring) number(at int64) int64 { return at / int64(r.step/time.Second) }

// at returns the slot of a time, or nil if that is too long ago.
func (r *ring) at(at int64) *slot {
	if r.from <= at && at < r.until {
		return r.last
	}
	number := r.number(at)
	if number <= r.newest-int64(len(r.slots)) || number <= 0 {
		return nil
	}
	r.newest = max(r.newest, number)
	s := &r.slots[number%int64(len(r.slots))]
	if s.number != number {
		*s = slot{number: number, cells: s.cells[:0]}
	}
	step := int64(r.step / time.Second)
	r.last, r.from, r.until = s, number*step, (number+1)*step
	return s
}

// find returns the slot of a number, or nil if nothing happened then, or that is too long ago.
func (r *ring) find(number int64) *slot {
	if number <= 0 || number > r.newest || number <= r.newest-int64(len(r.slots)) {
		return nil
	}
	if s := &r.slots[number%int64(len(r.slots))]; s.number == number {
		return s
	}
	return nil
}

// count counts a request. Beyond the bound of cells it counts for the route [Other].
func (s *slot) count(key uint32, most int) {
	i, ok := s.findCell(key)
	if !ok && len(s.cells) >= most {
		key &= 0xff
		i, ok = s.findCell(key) // there are fewer of those than the bound
	}
	if !ok {
		s.cells = slices.Insert(s.cells, i, cell{key: key})
	}
	s.cells[i].count++
}

func (s *slot) findCell(key uint32) (int, bool) {
	return slices.BinarySearchFunc(s.cells, key, func(c cell, key uint32) int {
		switch {
		case c.key < key:
			return -1
		case c.key > key:
			return 1
		}
		return 0
	})
}
