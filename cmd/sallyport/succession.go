package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"sallyport/store"
)

// successionVariable names the descriptor of the channel to the process that is to be succeeded.
const successionVariable = "SALLYPORT_SUCCESSION"

// step is what one process tells the other. The new process says what it has done, and the old one what it may do next:
//
//	old → new  hello     the listeners, and which store it has
//	new → old  prepared  the configuration is sound
//	old → new  store     the store is released, or is a database, which both use
//	new → old  loaded    the store is open and in memory; a database confirms that memory is current
//	old → new  record    the audit record is released
//	new → old  ready     everything is open
//	old → new  serve     from now on the new process serves; before this, nothing that it did is of consequence
//	old → new  call      a connection that reads or changes the store, if that is a file
//
// If the old process is gone at any step, the kernel has released what it held, and the new one goes on alone.
type step string

const (
	stepHello    step = "hello"
	stepPrepared step = "prepared"
	stepStore    step = "store"
	stepLoaded   step = "loaded"
	stepRecord   step = "record"
	stepReady    step = "ready"
	stepServe    step = "serve"
	stepCall     step = "call"
	stepFailed   step = "failed"
)

// message is one packet of the channel. Descriptors may come with it.
type message struct {
	Step     step           `json:"step"`
	Error    string         `json:"error,omitempty"`    // of failed
	Sockets  []passedSocket `json:"sockets,omitempty"`  // of hello; a descriptor for each
	Store    string         `json:"store,omitempty"`    // of hello: the store of the old process, as the configuration names it
	Record   string         `json:"record,omitempty"`   // of hello: the path of its audit record
	Revision store.Revision `json:"revision,omitempty"` // of serve: what the memory of the old process has

	// Of hello, if the store is a database.
	Replica string `json:"replica,omitempty"` // the name of this replica
	Process string `json:"process,omitempty"` // the name of the new process in the database
	Former  string `json:"former,omitempty"`  // the name of the old one
}

// passedSocket says what a listener is for.
type passedSocket struct {
	Name string `json:"name"`
	Addr string `json:"addr"` // as configured; "" if systemd opened it
}

// How large a message may be, and how many descriptors may come with it.
const (
	maxMessage     = 64 << 10
	maxDescriptors = 16
	sendTime       = 5 * time.Second
)

// channel connects the two processes of an upgrade. Each packet is a message.
type channel struct{ *net.UnixConn }

// send sends a message with files.
func (c channel) send(m message, files ...*os.File) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var descriptors []int
	for _, f := range files {
		raw, err := f.SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) { descriptors = append(descriptors, int(fd)) }) //nolint:gosec // a small number
		}
		if err != nil {
			return err
		}
	}
	var rights []byte
	if len(descriptors) > 0 {
		rights = syscall.UnixRights(descriptors...)
	}
	_ = c.SetWriteDeadline(time.Now().Add(sendTime))
	_, _, err = c.WriteMsgUnix(text, rights, nil)
	runtime.KeepAlive(files)
	return err
}

// receive returns the next message. The error is io.EOF if the other process is gone.
func (c channel) receive() (m message, files []*os.File, err error) {
	text, rights := make([]byte, maxMessage), make([]byte, syscall.CmsgSpace(4*maxDescriptors))
	n, rn, _, _, err := c.ReadMsgUnix(text, rights)
	if err != nil {
		if errors.Is(err, syscall.ECONNRESET) {
			err = io.EOF
		}
		return m, nil, err
	}
	if n == 0 {
		return m, nil, io.EOF
	}
	controls, err := syscall.ParseSocketControlMessage(rights[:rn])
	if err != nil {
		return m, nil, err
	}
	for _, control := range controls {
		descriptors, err := syscall.ParseUnixRights(&control)
		if err != nil {
			return m, nil, err
		}
		for _, fd := range descriptors {
			files = append(files, os.NewFile(uintptr(fd), "passed")) //nolint:gosec // a descriptor
		}
	}
	return m, files, json.Unmarshal(text[:n], &m)
}

// newPair returns the two ends of a Unix socket of a type. Neither is passed to programs that are started.
func newPair(kind int) (near *net.UnixConn, far *os.File, err error) {
	syscall.ForkLock.RLock()
	ends, err := syscall.Socketpair(syscall.AF_UNIX, kind, 0)
	if err == nil {
		syscall.CloseOnExec(ends[0])
		syscall.CloseOnExec(ends[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	far = os.NewFile(uintptr(ends[1]), "far") //nolint:gosec // a descriptor
	near, err = asUnixConn(os.NewFile(uintptr(ends[0]), "near"))
	if err != nil {
		return nil, nil, errors.Join(err, far.Close())
	}
	return near, far, nil
}

// asUnixConn returns the connection that f is, and closes f.
func asUnixConn(f *os.File) (*net.UnixConn, error) {
	conn, err := net.FileConn(f)
	_ = f.Close()
	if err != nil {
		return nil, err
	}
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s is not a Unix socket", f.Name()), conn.Close())
	}
	return unix, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// withoutStart returns an environment without what tells one process how it was started: whom it succeeds, and that systemd
// waits for its signs of life.
func withoutStart(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		return strings.HasPrefix(v, successionVariable+"=") || strings.HasPrefix(v, watchdogProcess+"=")
	})
}
