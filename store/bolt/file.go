package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// errBackup is about what package backup wrote, encrypted or not.
var errBackup = errors.New("is a backup, and not a store: move it elsewhere, and put it in place with `sallyport restore FILE`")

// CheckFile returns an error if there is a file at path that was never a store. It reads the places where the meta pages
// of a bbolt file can begin, and takes no lock. A file that does not exist, or is empty, can become a store.
func CheckFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	const smallestPage, largestPage = 1 << 10, 64 << 10
	begin := make([]byte, largestPage+pageHeader+4)
	n, err := io.ReadFull(f, begin)
	switch {
	case n == 0 && errors.Is(err, io.EOF):
		return nil
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	}
	for at := 0; at+pageHeader+4 <= n; at = max(2*at, smallestPage) {
		if binary.NativeEndian.Uint32(begin[at+pageHeader:]) == magic {
			return nil
		}
	}
	if bytes.HasPrefix(begin, []byte("sallyport backup ")) || bytes.HasPrefix(begin, []byte("age-encryption.org/")) {
		return fmt.Errorf("%s %w", path, errBackup)
	}
	return fmt.Errorf("%s is not a store", path)
}
