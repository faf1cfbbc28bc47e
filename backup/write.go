package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"iter"

	"sallyport/store"
)

// Write writes a stream of records, which must come in ascending order of their keys. After an error, what was written is
// no whole stream: a reader refuses it.
func Write(w io.Writer, header Header, records iter.Seq2[store.Entry, error]) (Summary, error) {
	out := newWriter(w)
	if err := out.begin(header); err != nil {
		return Summary{}, err
	}
	var last []byte
	for e, err := range records {
		switch {
		case err != nil:
			return Summary{}, fmt.Errorf("reading the record at %q: %w", e.Key, err)
		case len(e.Key) == 0 || len(e.Key) > maxKey || len(e.Value) > maxValue:
			return Summary{}, fmt.Errorf("the record at %q has a key of %d bytes and a value of %d: a backup holds keys of 1 to %d bytes and values of up to %d",
				e.Key[:min(len(e.Key), 64)], len(e.Key), len(e.Value), maxKey, maxValue)
		case out.records > 0 && bytes.Compare(last, e.Key) >= 0:
			return Summary{}, fmt.Errorf("the key %q comes after the key %q", e.Key, last)
		}
		last = append(last[:0], e.Key...)
		if err := out.record(e); err != nil {
			return Summary{}, err
		}
	}
	return out.end()
}

// Sum returns the summary of records without writing them anywhere. Two stores of any engines have the same records if
// their sums are the same.
func Sum(records iter.Seq2[store.Entry, error]) (Summary, error) {
	return Write(io.Discard, Header{}, records)
}

// writer writes to out, and hashes what it writes.
type writer struct {
	out     *bufio.Writer
	hash    hash.Hash
	records uint64
	lengths []byte // reused
}

func newWriter(w io.Writer) *writer {
	return &writer{out: bufio.NewWriterSize(w, 64<<10), hash: sha256.New()}
}

func (w *writer) write(parts ...[]byte) error {
	for _, part := range parts {
		w.hash.Write(part) // never fails
		if _, err := w.out.Write(part); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) begin(header Header) error {
	text, err := json.Marshal(header)
	if err != nil {
		return fmt.Errorf("encoding the header of a backup: %w", err)
	}
	return w.write(fmt.Appendf(nil, "%s%d\n", firstWords, version), binary.AppendUvarint(nil, uint64(len(text))), text)
}

func (w *writer) record(e store.Entry) error {
	w.records++
	w.lengths = append(w.lengths[:0], recordMark)
	w.lengths = binary.AppendUvarint(w.lengths, uint64(len(e.Key)))
	w.lengths = binary.AppendUvarint(w.lengths, uint64(len(e.Value)))
	return w.write(w.lengths, e.Key, e.Value)
}

func (w *writer) end() (Summary, error) {
	if err := w.write(binary.BigEndian.AppendUint64([]byte{trailerMark}, w.records)); err != nil {
		return Summary{}, err
	}
	s := Summary{Records: w.records, SHA256: [32]byte(w.hash.Sum(nil))}
	if _, err := w.out.Write(s.SHA256[:]); err != nil {
		return Summary{}, err
	}
	return s, w.out.Flush()
}
