package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"sallyport/audit"
	"sallyport/listen"
	"sallyport/store"
	"sallyport/store/handover"
)

// How long a new process may take for each step. While it loads, changes of the store wait; while it opens the record,
// requests do.
const (
	prepareTime = 30 * time.Second
	loadTime    = 30 * time.Second
	readyTime   = 5 * time.Second
	holdTime    = time.Second // for what reads or changes the store to end
)

// succession is how a server is succeeded by another process, and whom it has succeeded itself.
type succession struct {
	program string        // what is started
	former  *former       // nil: this process was not started by an upgrade
	handed  chan struct{} // closed once another process serves
	to      channel       // that process takes the end of this channel, which is never closed, for the end of this process
	failed  chan error    // receives why this process can neither go on nor be succeeded

	mu      sync.Mutex // held during an upgrade
	ctx     context.Context
	servers []*listen.Server
	addrs   map[string]string // by the name of the server: see passedSocket
}

func newSuccession(program string, former *former) *succession {
	return &succession{program: program, former: former, handed: make(chan struct{}), failed: make(chan error, 1), addrs: map[string]string{}}
}

// begin allows upgrades, until ctx ends.
func (u *succession) begin(ctx context.Context) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ctx = ctx
}

// isHanded reports whether another process serves.
func (u *succession) isHanded() bool {
	select {
	case <-u.handed:
		return true
	default:
		return false
	}
}

// programPath returns the path by which this program was started, so that a file that is put in its place is started by the
// next upgrade; the path of the file itself if that cannot be told.
func programPath() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding the path of this program: %w", err)
	}
	named, err := exec.LookPath(os.Args[0])
	if err == nil {
		named, err = filepath.Abs(named)
	}
	if err != nil || !sameFile(named, self) {
		return self, nil
	}
	return named, nil
}

// upgrade starts the program anew and has the new process take over. It returns the new process's id. On an error this process
// goes on as before.
func (s *server) upgrade(context.Context) (pid int, err error) {
	u := s.succession
	if !u.mu.TryLock() {
		return 0, errors.New("another upgrade is under way, or the server is stopping")
	}
	defer u.mu.Unlock()
	if err := s.refuseUpgrade(); err != nil {
		return 0, err
	}
	began := time.Now()
	next, err := u.start(s.components.hello(s.file))
	if err != nil {
		return 0, fmt.Errorf("starting %s: %w; nothing was changed", u.program, err)
	}
	defer next.channel.Close()
	if err := s.passOn(u.ctx, next); err != nil {
		next.kill()
		err = fmt.Errorf("the new process did not take over, and this one goes on: %w", err)
		if lost := s.components.retake(s.file); lost != nil {
			u.failed <- lost
			err = errors.Join(err, lost)
		}
		s.components.forget(next.name)
		s.log.Error("not upgraded", "err", err)
		return 0, err
	}
	s.log.Info("another process has taken over; this one ends with the requests that are under way", "pid", next.cmd.Process.Pid, "took", time.Since(began).Round(time.Millisecond).String())
	return next.cmd.Process.Pid, nil
}

// refuseUpgrade returns why no upgrade is begun now, or nil.
func (s *server) refuseUpgrade() error {
	u := s.succession
	switch {
	case u.ctx == nil || u.ctx.Err() != nil || s.stopping.Load():
		return errors.New("the server is not running any more, or not yet")
	case u.program == "":
		return errors.New("the demo is not upgraded")
	case u.isHanded():
		return errors.New("another process has taken over already")
	case os.Getpid() == 1:
		return errors.New("this is the first process of a container, which ends with it: have the orchestrator replace the container")
	case u.former != nil && !u.former.isGone():
		return fmt.Errorf("the process before this one still serves requests that were under way, for listen.grace (%s) at most; try again then", s.inForce.Load().Listen.Grace)
	}
	if err := errors.Join(s.components.store.Err(), s.components.record.Err()); err != nil {
		return fmt.Errorf("the store and the audit record must be writable: %w", err)
	}
	return nil
}

// successor is a process that is to take over.
type successor struct {
	channel channel
	cmd     *exec.Cmd
	name    string        // in the database
	ended   chan struct{} // closed when it has ended
}

// start starts the program with the arguments of this process, and passes the listeners and what hello says of the store.
func (u *succession) start(hello message) (*successor, error) {
	near, far, err := newPair(syscall.SOCK_SEQPACKET)
	if err != nil {
		return nil, err
	}
	defer far.Close()
	next := &successor{channel: channel{near}, name: hello.Process, ended: make(chan struct{})}
	next.cmd = exec.Command(u.program, os.Args[1:]...) //nolint:gosec // this program itself
	next.cmd.Env = append(withoutStart(os.Environ()), successionVariable+"=3")
	next.cmd.Stdin, next.cmd.Stdout, next.cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	next.cmd.ExtraFiles = []*os.File{far}
	if err := next.cmd.Start(); err != nil {
		return nil, errors.Join(err, near.Close())
	}
	go func() { defer close(next.ended); _ = next.cmd.Wait() }()
	if err := u.greet(next, hello); err != nil {
		next.kill()
		return nil, errors.Join(err, near.Close())
	}
	return next, nil
}

// greet passes hello and the listeners.
func (u *succession) greet(next *successor, hello message) error {
	var files []*os.File
	defer func() { closeAll(files) }()
	for _, srv := range u.servers {
		f, err := srv.File()
		if err != nil {
			return err
		}
		files = append(files, f)
		hello.Sockets = append(hello.Sockets, passedSocket{srv.Name(), u.addrs[srv.Name()]})
	}
	return next.channel.send(hello, files...)
}

// kill ends the process, and returns when it has ended: then it holds nothing any more.
func (n *successor) kill() {
	_ = n.cmd.Process.Kill()
	<-n.ended
}

// await waits for a step of the process.
func (n *successor) await(ctx context.Context, want step, limit time.Duration) error {
	_ = n.channel.SetReadDeadline(time.Now().Add(limit))
	defer context.AfterFunc(ctx, func() { _ = n.channel.SetReadDeadline(time.Now()) })()
	m, files, err := n.channel.receive()
	closeAll(files)
	switch {
	case ctx.Err() != nil:
		return errors.New("the server is stopping")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("it was not %s within %s", want, limit)
	case err != nil:
		return errors.New("it ended; its log says why")
	case m.Step == stepFailed:
		return errors.New(m.Error)
	case m.Step != want:
		return fmt.Errorf("it says %q in place of %q", m.Step, want)
	}
	return nil
}

// passOn has the process take over. Until the last message is sent, an error leaves this process able to go on.
func (s *server) passOn(ctx context.Context, next *successor) error {
	if err := next.await(ctx, stepPrepared, prepareTime); err != nil {
		return err
	}
	if err := s.components.record.Checkpoint(); err != nil { // so that the new process has little to read of the record
		return err
	}
	revision, err := s.components.releaseStore(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(next.channel.send(message{Step: stepStore}), next.await(ctx, stepLoaded, loadTime)); err != nil {
		return err
	}
	if err := s.components.releaseRecord(ctx); err != nil {
		return err
	}
	if err := errors.Join(next.channel.send(message{Step: stepRecord}), next.await(ctx, stepReady, readyTime)); err != nil {
		return err
	}
	changes, theirs, err := newPair(syscall.SOCK_STREAM)
	if err != nil {
		return err
	}
	defer theirs.Close()
	record, theirRecord, err := newPair(syscall.SOCK_STREAM)
	if err != nil {
		return errors.Join(err, changes.Close())
	}
	defer theirRecord.Close()
	near, err := duplicate(next.channel)
	if err != nil {
		return errors.Join(err, changes.Close(), record.Close())
	}
	if err := next.channel.send(message{Step: stepServe, Revision: revision}, theirs, theirRecord); err != nil {
		return errors.Join(err, changes.Close(), record.Close(), near.Close())
	}
	s.succession.to = near
	s.succeeded(next, changes, revision, record)
	return nil
}

// duplicate returns another descriptor of the channel.
func duplicate(c channel) (channel, error) {
	f, err := c.File()
	if err != nil {
		return channel{}, err
	}
	conn, err := asUnixConn(f)
	return channel{conn}, err
}

// dial opens a connection that reads or changes the store.
func (c channel) dial() (net.Conn, error) {
	near, far, err := newPair(syscall.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	defer far.Close()
	if err := c.send(message{Step: stepCall}, far); err != nil {
		return nil, errors.Join(err, near.Close())
	}
	return near, nil
}

// succeeded has this process use the record, and a store in a file, through the one that has taken over, and accept no more
// connections.
func (s *server) succeeded(next *successor, changes net.Conn, revision store.Revision, record net.Conn) {
	s.notify(fmt.Sprintf("MAINPID=%d", next.cmd.Process.Pid))
	follow := func(ctx context.Context) error { return awaitEnd(ctx, changes) }
	var remote *handover.Remote
	if s.components.shared() != nil {
		remote = handover.NewRemote(changes, s.succession.to.dial, revision)
		follow = remote.Run
	}
	s.components.succeeded(remote, record)
	close(s.succession.handed)
	for _, srv := range s.succession.servers {
		if l, ok := srv.Socket().(*controlListener); ok {
			l.keep()
		}
		srv.StopAccepting()
	}
	go s.followSuccessor(follow)
}

// awaitEnd returns when the process at the other end of conn is gone, or when ctx ends.
func awaitEnd(ctx context.Context, conn net.Conn) error {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_, err := conn.Read(make([]byte, 1)) // nothing is sent
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("the process that took the record over does not hold its connection any more: %w", err)
}

// followSuccessor receives changes until this process ends. If the other one is gone, nobody could be cut any more, or nothing
// recorded, and every request is ended.
func (s *server) followSuccessor(follow func(context.Context) error) {
	err := follow(s.succession.ctx)
	if errors.Is(err, context.Canceled) {
		return
	}
	if shared := s.components.shared(); shared != nil {
		shared.Fail(err)
	}
	s.log.Error("the process that took over is gone: the requests that are under way are ended", "err", err)
	for _, srv := range s.succession.servers {
		srv.Abort()
	}
	s.succession.failed <- err
}

// eventRelay has the process that took over write events.
type eventRelay struct {
	mu   sync.Mutex // one event at a time; held over that I/O
	conn net.Conn
	*gob.Encoder
	*gob.Decoder
}

// relayed is the outcome of an event.
type relayed struct {
	Error      string
	Unwritable bool // the error is audit.ErrUnwritable
}

// relayTime is how long an event may take.
const relayTime = 10 * time.Second

func newEventRelay(conn net.Conn) *eventRelay {
	return &eventRelay{conn: conn, Encoder: gob.NewEncoder(conn), Decoder: gob.NewDecoder(conn)}
}

func (r *eventRelay) write(event []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.conn.SetDeadline(time.Now().Add(relayTime))
	var outcome relayed
	if err := errors.Join(r.Encode(event), r.Decode(&outcome)); err != nil {
		_ = r.conn.Close() // what comes next would read the outcome of this one
		return fmt.Errorf("%w: the process that writes it does not respond: %w", audit.ErrUnwritable, err)
	}
	switch {
	case outcome.Error == "":
		return nil
	case outcome.Unwritable:
		return fmt.Errorf("%w%s", audit.ErrUnwritable, strings.TrimPrefix(outcome.Error, audit.ErrUnwritable.Error()))
	}
	return errors.New(outcome.Error)
}
