package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

const (
	maxDepth    = 64 // bbolt's trees are less than ten pages deep
	leastShared = 16 // a branch with fewer children is not worth starting goroutines: they may be all there is
)

// recordsPath is the path of the bucket of records.
var recordsPath = "/" + string(dataBucket)

var errDepth = fmt.Errorf("%w: the tree is deeper than %d pages", errPages, maxDepth)

// walk checks pages in the order of their keys.
type walk struct {
	pages   *pages
	levels  [maxDepth + 1]level // of the tree, for the pages on the way to the one that is read
	found   records             // so far
	workers []walk              // which share the children of a large branch; nil: this walk is one of them
}

// level has what is used again for each page of one depth, so that a large file leaves no
// garbage of its size.
type level struct {
	page     []byte
	children []place
}

// place says where a page is in the tree.
type place struct {
	id    uint64 // of the page; 0: it is part of a leaf
	depth int
	path  string // of the bucket: "" for the root, "/data" for the records
	keys  bounds
}

// bounds are those of the keys in a page: a search that comes by the page above looks for
// no others there.
type bounds struct {
	first []byte // nil: any
	end   []byte // is greater than all of them; nil: any
}

func (b bounds) has(key []byte) bool {
	return bytes.Compare(b.first, key) <= 0 && (b.end == nil || bytes.Compare(key, b.end) < 0)
}

// checkTree checks every page below the root, on all processors, and returns the records
// that it found.
func (p *pages) checkTree(root uint64) (found records, err error) {
	w := &walk{pages: p, workers: make([]walk, runtime.GOMAXPROCS(0))}
	for i := range w.workers {
		w.workers[i].pages = p
	}
	err = w.check(place{id: root})
	for i := range w.workers {
		w.found.merge(w.workers[i].found)
	}
	return w.found, err
}

// check checks the page at p and everything below it.
func (w *walk) check(p place) (err error) {
	if p.depth > maxDepth {
		return errDepth
	}
	l := &w.levels[p.depth]
	if l.page, err = w.pages.read(p.id, l.page); err != nil {
		return err
	}
	return w.checkPage(p, l.page)
}

func (w *walk) checkPage(p place, page []byte) error {
	flags, count := binary.NativeEndian.Uint16(page[8:]), int(binary.NativeEndian.Uint16(page[10:]))
	switch {
	case pageHeader+count*elementSize > len(page):
	case flags == leafPage:
		return w.checkLeaf(p, page, count)
	case flags == branchPage && count > 0:
		return w.checkBranch(p, page, count)
	}
	return fmt.Errorf("%w: page %d is neither a branch nor a leaf with %d elements", errPages, p.id, count)
}

// checkLeaf checks the elements of a leaf, and counts them if they are records.
func (w *walk) checkLeaf(p place, page []byte, count int) error {
	var last []byte
	for i := range count {
		key, value, isBucket, ok := leafElement(page, i)
		atEnd := i == 0 || i == count-1 // the others are in between
		if !ok || i > 0 && bytes.Compare(last, key) >= 0 || atEnd && !p.keys.has(key) {
			return errElement(p, i)
		}
		last = key
		if isBucket {
			if err := w.checkBucket(p.path+"/"+string(key), value, p.depth+1); err != nil {
				return err
			}
			value = nil // among records, it is a damaged one
		}
		if p.path == recordsPath {
			w.found.add(key, value)
		}
	}
	return nil
}

func errElement(p place, i int) error {
	return fmt.Errorf("%w: element %d of page %d is not in its place", errPages, i, p.id)
}

// checkBucket checks what the value of a bucket leads to. Its keys have no bounds.
func (w *walk) checkBucket(path string, value []byte, depth int) error {
	if len(value) < bucketSize {
		return fmt.Errorf("%w: the bucket %q has no root", errPages, path)
	}
	root, inline := binary.NativeEndian.Uint64(value), value[bucketSize:]
	switch {
	case depth > maxDepth:
		return errDepth
	case root != 0:
		return w.check(place{id: root, depth: depth, path: path})
	case len(inline) >= pageHeader:
		return w.checkPage(place{depth: depth, path: path}, inline)
	}
	return fmt.Errorf("%w: the bucket %q has no page", errPages, path)
}

// checkBranch checks the elements of a branch and everything below it.
func (w *walk) checkBranch(p place, page []byte, count int) error {
	l := &w.levels[p.depth]
	l.children = slices.Grow(l.children[:0], count)[:count]
	for i := range l.children {
		key, id, ok := branchElement(page, i)
		if !ok || i > 0 && bytes.Compare(l.children[i-1].keys.first, key) >= 0 || !p.keys.has(key) {
			return errElement(p, i)
		}
		l.children[i] = place{id, p.depth + 1, p.path, bounds{key, p.keys.end}}
		if i > 0 {
			l.children[i-1].keys.end = key
		}
	}
	if count >= leastShared && len(w.workers) > 1 {
		return w.share(l.children)
	}
	for _, child := range l.children {
		if err := w.check(child); err != nil {
			return err
		}
	}
	return nil
}

// share has the workers check what is below a branch: each of them the next child that is
// left, until one finds a fault.
func (w *walk) share(children []place) error {
	var taken atomic.Int64
	g, ctx := errgroup.WithContext(context.Background())
	checkRest := func(worker *walk) error {
		for ctx.Err() == nil {
			next := taken.Add(1) - 1
			if next >= int64(len(children)) {
				return nil
			}
			if err := worker.check(children[next]); err != nil {
				return err
			}
		}
		return nil
	}
	for i := range w.workers {
		g.Go(func() error {
			return guard(w.pages.file.Name(), func() error { return checkRest(&w.workers[i]) })
		})
	}
	return g.Wait()
}

// leafElement returns element i of a leaf. ok is false if it is not within the page.
func leafElement(page []byte, i int) (key, value []byte, isBucket, ok bool) {
	start := pageHeader + i*elementSize
	head := page[start : start+elementSize]
	keyStart := start + int(binary.NativeEndian.Uint32(head[4:]))
	keyEnd := keyStart + int(binary.NativeEndian.Uint32(head[8:]))
	end := keyEnd + int(binary.NativeEndian.Uint32(head[12:]))
	if end > len(page) {
		return nil, nil, false, false
	}
	return page[keyStart:keyEnd], page[keyEnd:end], binary.NativeEndian.Uint32(head)&bucketFlag != 0, true
}

// branchElement returns element i of a branch. ok is false if it is not within the page.
func branchElement(page []byte, i int) (key []byte, child uint64, ok bool) {
	start := pageHeader + i*elementSize
	head := page[start : start+elementSize]
	keyStart := start + int(binary.NativeEndian.Uint32(head))
	keyEnd := keyStart + int(binary.NativeEndian.Uint32(head[4:]))
	if keyEnd > len(page) {
		return nil, 0, false
	}
	return page[keyStart:keyEnd], binary.NativeEndian.Uint64(head[8:]), true
}
