// Package disktest makes writes of a test fail as on a full disk.
package disktest

import (
	"flag"
	"os/signal"
	"syscall"
	"testing"
)

// logFile is the flag by which go test names the file in which a test notes what it reads, so that its result can be reused.
const logFile = "test.testlogfile"

// Main runs the tests of a package that calls [LimitFileSize]; TestMain calls it. They write no log for go test: that is a
// file too, and go test fails if the limit kept a part of it from being written.
func Main(m *testing.M) (code int) {
	flag.Parse()
	if err := flag.Set(logFile, ""); err != nil {
		panic(err)
	}
	return m.Run()
}

// LimitFileSize makes writes of this process fail beyond the first bytes of any file, until release is called.
func LimitFileSize(t testing.TB, bytes uint64) (release func()) {
	t.Helper()
	if flag.Lookup(logFile).Value.String() != "" {
		t.Fatal("TestMain of this package does not call disktest.Main")
	}
	signal.Ignore(syscall.SIGXFSZ)
	var former syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &former); err != nil {
		t.Fatal(err)
	}
	set := func(limit syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	set(syscall.Rlimit{Cur: bytes, Max: former.Max})
	return func() { set(former) }
}
