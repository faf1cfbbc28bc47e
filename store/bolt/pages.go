package bolt

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"
	"slices"
	"sync/atomic"

	"sallyport/store"
)

// The layout of a bbolt file, in the byte order of the machine that wrote it: pages
// of one size, each with a header and then its elements. Pages 0 and 1 are meta pages;
// the valid one with the higher transaction is the root of everything.
const (
	pageHeader  = 16 // id (8), flags (2), count (2), overflow (4): how many further pages belong to it
	elementSize = 16 // leaf: flags (4), position (4), key size (4), value size (4); branch: position (4), key size (4), page (8)
	bucketSize  = 16 // the value of a bucket: root page (8), sequence (8); after it an inline page if the root is 0
	metaSize    = 64 // magic (4), version (4), page size (4), flags (4), root bucket (16), freelist (8), pages (8), transaction (8), checksum (8)

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketFlag   = 0x01 // of a leaf element: its value is a bucket

	magic      = 0xED0CDAED
	noFreelist = ^uint64(0)
)

var errPages = fmt.Errorf("%w: the pages are damaged", store.ErrUnsound)

// pages reads the pages of a file, by several goroutines at once. It does not use the
// memory map, so a damaged or missing page is an error and not a fault.
type pages struct {
	file  *os.File
	size  int64           // of a page
	count uint64          // all pages have lower numbers
	seen  []atomic.Uint64 // has a bit for each page
}

// checkPages follows every page from the root once, and counts the records. bbolt trusts
// its pages: one that leads to itself would end the process with a stack overflow, which
// cannot be recovered from.
func checkPages(f *os.File) (found records, err error) {
	m, err := readMeta(f)
	if err != nil {
		return found, err
	}
	p := &pages{file: f, size: m.pageSize, count: m.pages, seen: make([]atomic.Uint64, m.pages/64+1)}
	if found, err = p.checkTree(m.root); err != nil {
		return found, err
	}
	return found, p.checkFreelist(m.freelist)
}

// meta is what a meta page says.
type meta struct {
	offset         int64  // of the page in the file
	pageSize       int64  // of every page
	pages          uint64 // all pages have lower numbers
	transaction    uint64
	root, freelist uint64 // pages
}

// readMeta returns the newest valid meta page.
func readMeta(f *os.File) (newest meta, err error) {
	info, err := f.Stat()
	if err != nil {
		return newest, err
	}
	found := false
	for _, offset := range []int64{0, int64(os.Getpagesize())} {
		if m, ok := readMetaAt(f, offset); ok && (!found || m.transaction > newest.transaction) {
			newest, found = m, true
		}
	}
	switch {
	case !found:
		return newest, fmt.Errorf("%w: no meta page is valid", errPages)
	case newest.pageSize < 512 || newest.pages > uint64(info.Size()/newest.pageSize):
		return newest, fmt.Errorf("%w: the file was cut off: it has %d bytes, and %d pages of %d bytes belong to it", errPages, info.Size(), newest.pages, newest.pageSize)
	}
	return newest, nil
}

// readMetaAt returns the meta page at offset; ok is false if there is no valid one.
func readMetaAt(f *os.File, offset int64) (m meta, ok bool) {
	text := make([]byte, pageHeader+metaSize)
	if _, err := f.ReadAt(text, offset); err != nil {
		return m, false
	}
	body := text[pageHeader:]
	sum := fnv.New64a()
	_, _ = sum.Write(body[:metaSize-8])
	m = meta{offset: offset, pageSize: int64(binary.NativeEndian.Uint32(body[8:])), root: binary.NativeEndian.Uint64(body[16:]),
		freelist: binary.NativeEndian.Uint64(body[32:]), pages: binary.NativeEndian.Uint64(body[40:]), transaction: binary.NativeEndian.Uint64(body[48:])}
	return m, binary.NativeEndian.Uint32(body) == magic && binary.NativeEndian.Uint64(body[56:]) == sum.Sum64()
}

// read returns a page with its overflow, in the memory of buffer if that is large enough,
// and demands that nothing else led to it.
func (p *pages) read(id uint64, buffer []byte) ([]byte, error) {
	if id < 2 || id >= p.count {
		return nil, fmt.Errorf("%w: page %d does not exist", errPages, id)
	}
	page := slices.Grow(buffer[:0], int(p.size))[:p.size]
	if _, err := p.file.ReadAt(page, int64(id)*p.size); err != nil {
		return nil, err
	}
	overflow := uint64(binary.NativeEndian.Uint32(page[12:]))
	if got := binary.NativeEndian.Uint64(page); got != id || id+overflow >= p.count {
		return nil, fmt.Errorf("%w: page %d says that it is page %d, with %d pages after it", errPages, id, got, overflow)
	}
	for part := id; part <= id+overflow; part++ {
		if p.mark(part) {
			return nil, fmt.Errorf("%w: two pages lead to page %d", errPages, part)
		}
	}
	if overflow == 0 {
		return page, nil
	}
	size := (int(overflow) + 1) * int(p.size)
	page = slices.Grow(page, size-len(page))[:size]
	_, err := p.file.ReadAt(page[p.size:], (int64(id)+1)*p.size)
	return page, err
}

// mark remembers that something led to page id, and reports whether something had before.
func (p *pages) mark(id uint64) (before bool) {
	bit := uint64(1) << (id % 64)
	return p.seen[id/64].Or(bit)&bit != 0
}

// isMarked reports whether something led to page id.
func (p *pages) isMarked(id uint64) bool { return p.seen[id/64].Load()&(1<<(id%64)) != 0 }

// checkFreelist demands that no page in use is listed as free: it would be overwritten.
func (p *pages) checkFreelist(id uint64) error {
	if id == noFreelist {
		return nil
	}
	page, err := p.read(id, nil)
	if err != nil {
		return err
	}
	if flags := binary.NativeEndian.Uint16(page[8:]); flags != freelistPage {
		return fmt.Errorf("%w: page %d is no freelist", errPages, id)
	}
	count, ids := uint64(binary.NativeEndian.Uint16(page[10:])), page[pageHeader:]
	if count == 0xFFFF { // then the first element is the count
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return fmt.Errorf("%w: the freelist has %d pages and names %d", errPages, len(ids)/8, count)
	}
	for i := range count {
		if free := binary.NativeEndian.Uint64(ids[i*8:]); free < 2 || free >= p.count || p.isMarked(free) {
			return fmt.Errorf("%w: page %d is in use or does not exist, and is listed as free", errPages, free)
		}
	}
	return nil
}
