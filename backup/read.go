package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"strconv"
	"strings"

	"sallyport/store"
)

// Reader reads one stream.
type Reader struct {
	in      *bufio.Reader
	hash    hash.Hash
	header  Header
	summary Summary
}

// NewReader reads the header of a stream. It returns [ErrNotBackup] for something else, and [ErrNewer] for a version that
// this package does not know.
func NewReader(in io.Reader) (*Reader, error) {
	r := &Reader{in: bufio.NewReaderSize(in, 64<<10), hash: sha256.New()}
	if err := r.readVersion(); err != nil {
		return nil, err
	}
	length, err := r.length(maxHeader)
	if err != nil {
		return nil, err
	}
	text, err := r.bytes(nil, length)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &r.header); err != nil {
		return nil, fmt.Errorf("%w: its header cannot be read: %w", ErrDamaged, err)
	}
	return r, nil
}

// Header returns the header. Nothing has been compared with the checksum yet when NewReader returns.
func (r *Reader) Header() Header { return r.header }

// Summary returns what the trailer says, once Records has yielded the last record.
func (r *Reader) Summary() Summary { return r.summary }

func (r *Reader) readVersion() error {
	const longest = len(firstWords) + 20
	line, err := r.in.Peek(longest)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	line, _, ok := bytes.Cut(line, []byte("\n"))
	number, begins := strings.CutPrefix(string(line), firstWords)
	if !begins {
		return ErrNotBackup
	}
	n, err := strconv.ParseUint(number, 10, 32)
	switch {
	case !ok && len(line) < longest:
		return ErrCutOff
	case !ok || err != nil || strconv.FormatUint(n, 10) != number || n < version:
		return fmt.Errorf("%w: the version of its format is %q", ErrDamaged, number)
	case n > version:
		return fmt.Errorf("%w (its format is %d, and this version reads %d)", ErrNewer, n, version)
	}
	_, err = r.bytes(nil, uint64(len(line))+1)
	return err
}

// Records yields every record. The bytes of one are valid until the next is asked for. A stream that is not whole, or
// after which something else comes, ends with an error.
func (r *Reader) Records() iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		var e store.Entry
		var last []byte
		for {
			more, err := r.record(&e)
			if err == nil && !more {
				err = r.end()
			}
			if err == nil && more && r.summary.Records > 1 && bytes.Compare(last, e.Key) >= 0 {
				err = fmt.Errorf("%w: the keys of its records are not in order", ErrDamaged)
			}
			if err != nil {
				yield(store.Entry{}, err)
				return
			}
			if !more || !yield(e, nil) {
				return
			}
			last = append(last[:0], e.Key...)
		}
	}
}

// record reads the next record into e, whose bytes it uses again. It returns false at the trailer.
func (r *Reader) record(e *store.Entry) (more bool, err error) {
	mark, err := r.bytes(nil, 1)
	switch {
	case err != nil:
		return false, err
	case mark[0] == trailerMark:
		return false, nil
	case mark[0] != recordMark:
		return false, fmt.Errorf("%w after %d records", ErrDamaged, r.summary.Records)
	}
	key, err := r.length(maxKey)
	if err != nil {
		return false, err
	}
	value, err := r.length(maxValue)
	if err != nil {
		return false, err
	}
	if key == 0 {
		return false, fmt.Errorf("%w: a record has no key", ErrDamaged)
	}
	if e.Key, err = r.bytes(e.Key[:0], key); err == nil {
		e.Value, err = r.bytes(e.Value[:0], value)
	}
	r.summary.Records++
	return err == nil, err
}

// end compares the trailer with what was read, and demands that nothing comes after it.
func (r *Reader) end() error {
	count, err := r.bytes(nil, 8)
	if err != nil {
		return err
	}
	sum := r.hash.Sum(nil)
	stored, err := r.bytes(nil, sha256.Size)
	switch n := binary.BigEndian.Uint64(count); {
	case err != nil:
		return err
	case !bytes.Equal(sum, stored):
		return fmt.Errorf("%w: its SHA-256 is %x and should be %x", ErrDamaged, sum, stored)
	case n != r.summary.Records:
		return fmt.Errorf("%w: it has %d records and should have %d", ErrDamaged, r.summary.Records, n)
	}
	r.summary.SHA256 = [32]byte(sum)
	if _, err := r.in.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.Join(fmt.Errorf("%w: something comes after its end", ErrDamaged), err)
	}
	return nil
}

// length reads a length that is at most limit, in its shortest form.
func (r *Reader) length(limit uint64) (n uint64, err error) {
	var text [binary.MaxVarintLen64]byte
	for i := range text {
		one, err := r.bytes(text[:i], 1)
		if err != nil {
			return 0, err
		}
		if one[i] >= 0x80 {
			continue
		}
		n, size := binary.Uvarint(one)
		if size != i+1 || n > limit || i > 0 && one[i] == 0 {
			break
		}
		return n, nil
	}
	return 0, fmt.Errorf("%w: a length in it is wrong", ErrDamaged)
}

// bytes reads n bytes and appends them to the buffer. It takes memory for what is there, whatever a length says.
func (r *Reader) bytes(buffer []byte, n uint64) ([]byte, error) {
	const step = 1 << 20
	for n > 0 {
		begin, part := len(buffer), int(min(n, step)) //nolint:gosec // at most step
		buffer = append(buffer, make([]byte, part)...)
		_, err := io.ReadFull(r.in, buffer[begin:])
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, ErrCutOff
		case err != nil:
			return nil, fmt.Errorf("reading a backup: %w", err)
		}
		r.hash.Write(buffer[begin:]) // never fails
		n -= uint64(part)            //nolint:gosec // a length
	}
	return buffer, nil
}
