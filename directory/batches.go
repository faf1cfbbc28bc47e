package directory

import (
	"bytes"
	"fmt"
	"runtime"
	"sync"

	"sallyport/store"
)

// batchSize is how many records are handled at once, or more if they are of one id.
const batchSize = 512

// scanned is what a scan yielded at one key.
type scanned struct {
	store.Entry
	err error
}

// batches has records handled on every processor while more are read, because handling them takes longer than reading
// them. The records of one id, which their keys begin with behind the prefix, are handled in one batch, in order; there is
// no order among batches.
type batches struct {
	idEnd   int // where the id ends in a key
	batch   []scanned
	full    chan []scanned
	handled chan []scanned // to be used again
	workers sync.WaitGroup
}

// scanInBatches reads the records whose keys begin with prefix, and has handle handle them in [batches]. It returns an error
// if the scan ends with one, or at a key that is not valid; kind says there what the records are.
func scanInBatches(r store.Reader, prefix, kind string, valid func(key []byte) bool, handle func([]scanned)) error {
	b := newBatches(prefix, handle)
	defer b.wait()
	for e, err := range r.Scan([]byte(prefix), nil) {
		if endsScan(err) {
			return err
		}
		if !valid(e.Key) {
			return fmt.Errorf("the key of a %s is damaged: %q: %w", kind, e.Key, store.ErrDamaged)
		}
		b.add(scanned{e, err})
	}
	return nil
}

// newBatches returns batches that handle handles, of records whose keys begin with prefix. The caller must call wait.
func newBatches(prefix string, handle func([]scanned)) *batches {
	processors := runtime.GOMAXPROCS(0)
	b := &batches{idEnd: len(prefix) + idSize, full: make(chan []scanned, processors), handled: make(chan []scanned, 2*processors+1)}
	for range processors {
		b.workers.Go(func() {
			for batch := range b.full {
				handle(batch)
				b.handled <- batch[:0] // never blocks: it has room for every batch
			}
		})
		b.handled <- nil
		b.handled <- nil
	}
	return b
}

// add adds the record that follows those before.
func (b *batches) add(rec scanned) {
	if n := len(b.batch); n >= batchSize && !bytes.Equal(b.batch[n-1].Key[:b.idEnd], rec.Key[:b.idEnd]) {
		b.full <- b.batch
		b.batch = <-b.handled
	}
	b.batch = append(b.batch, rec)
}

// wait returns once every record is handled.
func (b *batches) wait() {
	if len(b.batch) > 0 {
		b.full <- b.batch
	}
	close(b.full)
	b.workers.Wait()
}
