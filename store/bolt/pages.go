package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"
	"slices"

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
	maxDepth   = 64 // bbolt's trees are less than ten pages deep
)

var errPages = fmt.Errorf("%w: the pages are damaged", store.ErrUnsound)

// pages reads the pages of a file. It does not use the memory map, so a damaged or
// missing page is an error and not a fault.
type pages struct {
	file  *os.File
	size  int64  // of a page
	count uint64 // all pages have lower numbers
	seen  []bool // by page

	levels [maxDepth + 1]level // of the tree, with the pages on the way to the one that is read
}

// level has what is used again for each page of one depth, so that a large file leaves no garbage of its size.
type level struct {
	page     []byte
	elements []element
}

// grow returns a page of n bytes with the content of page, in its memory if that is large enough.
func (l *level) grow(n int64) []byte {
	if int64(cap(l.page)) < n {
		l.page = append(make([]byte, 0, n), l.page...)
	}
	l.page = l.page[:n]
	return l.page
}

// checkPages follows every page from the root once. bbolt trusts its pages: one that
// leads to itself would end the process with a stack overflow, which cannot be
// recovered from.
func checkPages(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := readMeta(f)
	if err != nil {
		return err
	}
	p := &pages{file: f, size: m.pageSize, count: m.pages, seen: make([]bool, m.pages)}
	if err := p.checkTree(m.root, keys{}, 0); err != nil {
		return err
	}
	return p.checkFreelist(m.freelist)
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

// read returns a page with its overflow, and demands that nothing else led to it. The page is valid until another of the
// same depth is read.
func (p *pages) read(id uint64, depth int) ([]byte, error) {
	if id < 2 || id >= p.count {
		return nil, fmt.Errorf("%w: page %d does not exist", errPages, id)
	}
	head := p.levels[depth].grow(p.size)
	if _, err := p.file.ReadAt(head, int64(id)*p.size); err != nil {
		return nil, err
	}
	overflow := uint64(binary.NativeEndian.Uint32(head[12:]))
	if got := binary.NativeEndian.Uint64(head); got != id || id+overflow >= p.count {
		return nil, fmt.Errorf("%w: page %d says that it is page %d, with %d pages after it", errPages, id, got, overflow)
	}
	for part := id; part <= id+overflow; part++ {
		if p.seen[part] {
			return nil, fmt.Errorf("%w: two pages lead to page %d", errPages, part)
		}
		p.seen[part] = true
	}
	if overflow == 0 {
		return head, nil
	}
	page := p.levels[depth].grow((int64(overflow) + 1) * p.size)
	_, err := p.file.ReadAt(page[p.size:], (int64(id)+1)*p.size)
	return page, err
}

// keys are the bounds of the keys in a page: a search that comes by the page above looks for no others there.
type keys struct {
	first []byte // nil: any
	end   []byte // is greater than all of them; nil: any
}

func (k keys) has(key []byte) bool {
	return bytes.Compare(k.first, key) <= 0 && (k.end == nil || bytes.Compare(key, k.end) < 0)
}

// checkTree checks the page and everything below it.
func (p *pages) checkTree(id uint64, bounds keys, depth int) error {
	page, err := p.read(id, depth)
	if err != nil {
		return err
	}
	return p.checkPage(id, page, bounds, depth)
}

func (p *pages) checkPage(id uint64, page []byte, bounds keys, depth int) error {
	flags, count := binary.NativeEndian.Uint16(page[8:]), int(binary.NativeEndian.Uint16(page[10:]))
	if flags != branchPage && flags != leafPage || flags == branchPage && count == 0 || pageHeader+count*elementSize > len(page) {
		return fmt.Errorf("%w: page %d is neither a branch nor a leaf with %d elements", errPages, id, count)
	}
	l := &p.levels[depth]
	l.elements = slices.Grow(l.elements[:0], count)[:count]
	elements := l.elements
	for i := range elements {
		e, err := parseElement(page, pageHeader+i*elementSize, flags == branchPage)
		if err != nil || i > 0 && bytes.Compare(elements[i-1].key, e.key) >= 0 || !bounds.has(e.key) {
			return fmt.Errorf("%w: element %d of page %d is not in its place", errPages, i, id)
		}
		elements[i] = e
	}
	for i, e := range elements {
		below := keys{e.key, bounds.end}
		if i+1 < count {
			below.end = elements[i+1].key
		}
		if err := p.follow(e, below, depth); err != nil {
			return err
		}
	}
	return nil
}

// element is one element of a branch or leaf page.
type element struct {
	key    []byte
	child  uint64 // the page below a branch element
	bucket []byte // the value of a leaf element that is a bucket
}

func parseElement(page []byte, start int, branch bool) (e element, err error) {
	field := func(i int) int { return int(binary.NativeEndian.Uint32(page[start+i:])) }
	position, keySize, valueSize := start+field(4), field(8), field(12)
	if branch {
		position, keySize, valueSize = start+field(0), field(4), 0
		e.child = binary.NativeEndian.Uint64(page[start+8:])
	}
	if position+keySize+valueSize > len(page) {
		return e, errPages
	}
	e.key = page[position : position+keySize]
	if !branch && field(0)&bucketFlag != 0 {
		e.bucket = page[position+keySize : position+keySize+valueSize]
	}
	return e, nil
}

// follow checks what e leads to. The keys of a bucket are its own; those below a branch have bounds.
func (p *pages) follow(e element, below keys, depth int) error {
	switch {
	case e.child == 0 && e.bucket == nil:
		return nil
	case depth == maxDepth:
		return fmt.Errorf("%w: the tree is deeper than %d pages", errPages, maxDepth)
	case e.child != 0:
		return p.checkTree(e.child, below, depth+1)
	case len(e.bucket) < bucketSize:
		return fmt.Errorf("%w: the bucket %q has no root", errPages, e.key)
	}
	root := binary.NativeEndian.Uint64(e.bucket)
	if root != 0 {
		return p.checkTree(root, keys{}, depth+1)
	}
	if inline := e.bucket[bucketSize:]; len(inline) >= pageHeader {
		return p.checkPage(0, inline, keys{}, depth+1)
	}
	return fmt.Errorf("%w: the bucket %q has no page", errPages, e.key)
}

// checkFreelist demands that no page in use is listed as free: it would be overwritten.
func (p *pages) checkFreelist(id uint64) error {
	if id == noFreelist {
		return nil
	}
	page, err := p.read(id, 0)
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
		if free := binary.NativeEndian.Uint64(ids[i*8:]); free < 2 || free >= p.count || p.seen[free] {
			return fmt.Errorf("%w: page %d is in use or does not exist, and is listed as free", errPages, free)
		}
	}
	return nil
}
