package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"

	"sallyport/audit"
	"sallyport/listen"
	"sallyport/store"
	"sallyport/store/handover"
)

// former is the process that this one succeeds. Its methods do nothing for a nil *former: this process was started otherwise.
type former struct {
	channel channel
	process *os.Process
	store   string            // of that process, as its configuration named it
	sockets map[string]passed // that were not used yet
	gone    chan struct{}     // closed once the process is gone
	once    sync.Once         // closes gone

	// Set by ready. All nil if the process was gone before.
	changes, record net.Conn
	revision        store.Revision
	shared          bool
}

type passed struct {
	passedSocket
	file *os.File
}

// findFormer returns the process that this one succeeds, or nil.
func findFormer() (*former, error) {
	text := os.Getenv(successionVariable)
	_ = os.Unsetenv(successionVariable)
	if text == "" {
		return nil, nil
	}
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s is %q, and not a descriptor; it is not to be set by hand", successionVariable, text)
	}
	conn, err := asUnixConn(os.NewFile(uintptr(fd), successionVariable)) //nolint:gosec // checked above
	if err != nil {
		return nil, fmt.Errorf("%s: %w; it is not to be set by hand", successionVariable, err)
	}
	f := &former{channel: channel{conn}, sockets: map[string]passed{}, gone: make(chan struct{})}
	if f.process, err = os.FindProcess(os.Getppid()); err != nil {
		return nil, err
	}
	m, files, err := f.channel.receive()
	if err != nil || m.Step != stepHello || len(files) != len(m.Sockets) {
		closeAll(files)
		return nil, errors.Join(errors.New("the process that is to be succeeded does not say what it listens on"), err)
	}
	f.store = m.Store
	for i, s := range m.Sockets {
		f.sockets[s.Name] = passed{s, files[i]}
	}
	return f, nil
}

// demandStore returns an error unless the store is that of the former process: another one may be empty, or from before people
// left, and the former process would decide by it too.
func (f *former) demandStore(store string) error {
	if f == nil || f.store == store {
		return nil
	}
	return fmt.Errorf("store is %s in the configuration, and %s in the running server, and an upgrade keeps the store: correct the configuration; or stop the server, move the store with `sallyport store copy`, and start the server", store, f.store)
}

// socket returns the listener that a server with a name and a configured address shall use, or nil if it has to open one.
// activated reports whether systemd opened it.
func (f *former) socket(name, addr string) (l net.Listener, activated bool, err error) {
	if f == nil {
		return nil, false, nil
	}
	p, ok := f.sockets[name]
	if !ok || p.Addr != "" && p.Addr != addr {
		return nil, false, nil
	}
	delete(f.sockets, name)
	l, err = listen.FromFile(p.file)
	return l, p.Addr == "", err
}

// fail says why this process does not take over.
func (f *former) fail(err error) {
	if f != nil && err != nil {
		_ = f.channel.send(message{Step: stepFailed, Error: err.Error()})
	}
}

// report says that a step was done, and waits for the next one. If the process is gone, this one goes on without it.
func (f *former) report(done, next step) (files []*os.File, m message, err error) {
	if f == nil || f.isGone() {
		return nil, m, nil
	}
	if err := f.channel.send(message{Step: done}); err != nil {
		f.noteGone()
		return nil, m, nil
	}
	m, files, err = f.channel.receive()
	switch {
	case errors.Is(err, io.EOF):
		f.noteGone()
		return nil, message{}, nil
	case err == nil && m.Step != next:
		err = fmt.Errorf("the process that is to be succeeded says %q in place of %q", m.Step, next)
	}
	return files, m, err
}

// prepared returns when the store may be opened.
func (f *former) prepared() error {
	_, _, err := f.report(stepPrepared, stepStore)
	return err
}

// loaded returns when the record may be opened.
func (f *former) loaded() error {
	_, _, err := f.report(stepLoaded, stepRecord)
	return err
}

// ready returns when this process is the server.
func (f *former) ready() error {
	files, m, err := f.report(stepReady, stepServe)
	if err != nil || f == nil || f.isGone() {
		closeAll(files)
		return err
	}
	for _, unused := range f.sockets {
		_ = unused.file.Close()
	}
	if len(files) != 2 {
		return errors.New("the process that is to be succeeded passes no connections")
	}
	f.revision, f.shared = m.Revision, m.Shared
	if f.changes, err = asUnixConn(files[0]); err == nil {
		f.record, err = asUnixConn(files[1])
	}
	return err
}

func (f *former) isGone() bool {
	select {
	case <-f.gone:
		return true
	default:
		return false
	}
}

func (f *former) noteGone() { f.once.Do(func() { close(f.gone) }) }

// serve lets the process use the store and the record of this one, until it ends.
func (f *former) serve(ctx context.Context, peer *handover.Peer, c *components, log *slog.Logger) {
	if f == nil || f.record == nil {
		return
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer f.noteGone()
	defer context.AfterFunc(ctx, func() { _, _ = f.channel.Close(), f.record.Close() })()
	all.Go(func() { writeRelayed(f.record, c.record) })
	if peer != nil {
		all.Go(func() { peer.Run(ctx) })
	}
	for {
		m, files, err := f.channel.receive()
		if err != nil {
			break
		}
		if shared := c.shared(); m.Step == stepCall && len(files) == 1 && shared != nil {
			if conn, err := asUnixConn(files[0]); err == nil {
				all.Go(func() { shared.ServeCall(ctx, conn) })
			}
			continue
		}
		closeAll(files)
	}
	if ctx.Err() == nil {
		log.Info("the process that this one has taken over from has ended")
	}
}

// addPeer has every change wait for the process.
func (f *former) addPeer(c *components, log *slog.Logger) *handover.Peer {
	shared := c.shared()
	if f == nil || f.changes == nil {
		return nil
	}
	if shared == nil || !f.shared {
		_ = f.changes.Close()
		return nil
	}
	return shared.AddPeer(f.changes, f.revision, func() {
		log.Error("the process that this one has taken over from does not apply a change, and is ended", "pid", f.process.Pid)
		_ = f.process.Kill()
	})
}

// writeRelayed writes the events of another process, until it closes the connection.
func writeRelayed(conn net.Conn, record *audit.Log) {
	defer conn.Close()
	decoder, encoder := gob.NewDecoder(conn), gob.NewEncoder(conn)
	for {
		var event []byte
		if decoder.Decode(&event) != nil {
			return
		}
		var outcome relayed
		if err := record.WriteJSON(event); err != nil {
			outcome = relayed{err.Error(), errors.Is(err, audit.ErrUnwritable)}
		}
		if encoder.Encode(outcome) != nil {
			return
		}
	}
}
