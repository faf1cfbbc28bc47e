// Package postgrestest runs a real PostgreSQL server for tests.
package postgrestest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// Variable names the folder of PostgreSQL's programs in the environment. Without it, tests that need a server are left out.
const Variable = "POSTGRES"

// Server is a running server with a folder and a port of its own, which ends with the test.
type Server struct {
	t         testing.TB
	bin, data string
	port      int
	settings  []string
	process   int // of the server, when it was started last
	databases atomic.Int64
}

// Start makes a cluster and starts its server, with settings such as fsync=on: it forces nothing to the disk otherwise.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	return StartIn(t, "", settings...)
}

// SkipIfShort leaves a test out that takes long, if go test -short runs it.
func SkipIfShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out, since it takes long; ./test.sh postgres runs it")
	}
}

// StartIn is Start with a folder in which the server has its files.
func StartIn(t testing.TB, parent string, settings ...string) *Server {
	t.Helper()
	bin := os.Getenv(Variable)
	if bin == "" {
		t.Skip(Variable + " is not set to the folder of PostgreSQL's programs; ./test.sh postgres sets it")
	}
	s := &Server{t: t, bin: bin, port: FreePort(t), settings: settings}
	s.makeFolder(parent)
	s.makeCluster()
	s.Start()
	return s
}

// makeFolder makes the folder for the data of the server and for its socket.
func (s *Server) makeFolder(parent string) {
	s.t.Helper()
	folder, err := os.MkdirTemp(parent, "postgres-") //nolint:usetesting // the folder of a test is closed to the user of the server
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.process))
		if strings.Contains(string(command), s.data) { // and not another process of its number
			signal(s.process, syscall.SIGKILL) // also if it is stopped
		}
		_ = os.RemoveAll(folder)
	})
	s.data = filepath.Join(folder, "data")
	if owner := owner(); owner != nil {
		err = os.Chown(folder, int(owner.Uid), int(owner.Gid))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// making is held while a cluster is made.
var making sync.Mutex

// makeCluster makes the folder of the server. That takes seconds, so that the first one is copied and used again.
func (s *Server) makeCluster() {
	s.t.Helper()
	making.Lock()
	defer making.Unlock()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	version, err := exec.Command(filepath.Join(s.bin, "initdb"), "--version").Output() //nolint:gosec // the programs of this test
	if err != nil {
		s.t.Fatal(err)
	}
	made := filepath.Join(cache, "sallyport-test", fmt.Sprintf("cluster-%x-of-%d", sha256.Sum256(version), os.Getuid()))
	if s.copy(made, s.data) == nil {
		return
	}
	_ = os.RemoveAll(s.data)
	s.must("initdb", "--pgdata", s.data, "--auth", "trust", "--username", "sallyport", "--no-sync", "--encoding", "UTF8", "--locale", "C")
	copied := fmt.Sprintf("%s.%d", made, os.Getpid())
	if os.MkdirAll(filepath.Dir(made), 0o700) == nil && s.copy(s.data, copied) == nil {
		_ = os.Rename(copied, made) // unless another process was faster
	}
	_ = os.RemoveAll(copied)
}

// copy copies a folder with its owners.
func (s *Server) copy(from, to string) error {
	if _, err := os.Stat(from); err != nil {
		return err
	}
	return exec.Command("cp", "-a", from, to).Run() //nolint:gosec // folders of this test
}

// Start starts the server again.
func (s *Server) Start() {
	s.t.Helper()
	options := fmt.Sprintf("-p %d -k %s -c listen_addresses=127.0.0.1 -c fsync=off -c shared_buffers=32MB", s.port, filepath.Dir(s.data))
	if len(s.settings) > 0 {
		options += " -c " + strings.Join(s.settings, " -c ")
	}
	log := filepath.Join(filepath.Dir(s.data), "log")
	if err := s.run("pg_ctl", "--pgdata", s.data, "--wait", "--log", log, "--options", options, "start"); err != nil {
		text, _ := os.ReadFile(log)
		s.t.Fatalf("%v\n%s", err, text[max(0, len(text)-2000):])
	}
	s.process = s.postmaster()
}

// Kill ends the server as a crash does.
func (s *Server) Kill() {
	s.t.Helper()
	s.must("pg_ctl", "--pgdata", s.data, "--mode", "immediate", "stop")
}

// Stop ends the server, and the connections to it.
func (s *Server) Stop() {
	s.t.Helper()
	s.must("pg_ctl", "--pgdata", s.data, "--mode", "fast", "stop")
}

// Database makes a database and returns its connection string.
func (s *Server) Database() string {
	s.t.Helper()
	name := fmt.Sprintf("test%d", s.databases.Add(1))
	s.must("createdb", "--host", "127.0.0.1", "--port", strconv.Itoa(s.port), "--username", "sallyport", name)
	return fmt.Sprintf("postgres://sallyport@127.0.0.1:%d/%s?sslmode=disable", s.port, name)
}

func (s *Server) must(program string, args ...string) {
	s.t.Helper()
	if err := s.run(program, args...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) run(program string, args ...string) error {
	_, err := s.output(program, args...)
	return err
}

// output runs a program of PostgreSQL and returns what it prints.
func (s *Server) output(program string, args ...string) (string, error) {
	out, err := os.CreateTemp("", "postgres-out-")
	if err != nil {
		return "", err
	}
	defer func() { _, _ = out.Close(), os.Remove(out.Name()) }()
	cmd := exec.Command(filepath.Join(s.bin, program), args...) //nolint:gosec // the programs of this test
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", out, out             // a file, since the server keeps what pg_ctl has open
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner()}
	for fd := 3; fd < 64; fd++ { // the server may outlive the test, and would keep what the test was started with
		syscall.CloseOnExec(fd)
	}
	failed := cmd.Run()
	text, err := os.ReadFile(out.Name())
	if failed != nil {
		return "", errors.Join(fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), failed, text), err)
	}
	return string(text), err
}

// owner returns whom the server runs as: PostgreSQL does not run as root. It is nil for whoever runs the test.
func owner() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// FreePort returns a port that nothing listens on, that is not one of those which connections get by themselves, and that no
// other test gets: it stays free until a server uses it, and while that is down.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20_000 + rand.IntN(12_000) //nolint:gosec // a port need not be secret
		if !reserved(t, port) {            // first: even looking whether something listens takes the port for a moment
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// reserved reserves a TCP port until the test ends. It reports false if another test has reserved it, in this process or
// another: each holds the UDP port of the same number, on an address that nothing else uses.
func reserved(t testing.TB, port int) bool {
	t.Helper()
	held, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.3:%d", port))
	if err != nil {
		return false
	}
	t.Cleanup(func() { _ = held.Close() })
	return true
}
