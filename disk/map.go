package disk

import "os"

// Map maps the first size bytes of f into memory, for reading, until unmap is called. Reading what was cut off f since
// faults, which [runtime/debug.SetPanicOnFault] makes a panic. The error is [errors.ErrUnsupported] where files cannot be
// mapped.
//
// A file that may be written must not be mapped: [Forget] cannot make the kernel forget pages that are.
func Map(f *os.File, size int64) (data []byte, unmap func(), err error) {
	data, err = mapFile(f, size)
	return data, func() { unmapFile(data) }, err
}

// Prefetch has the kernel bring what is mapped into memory at once, and not with one fault after the other. It does nothing
// unless data begins with a page.
func Prefetch(data []byte) { prefetch(data) }
