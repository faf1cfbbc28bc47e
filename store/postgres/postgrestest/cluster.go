package postgrestest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Standby makes a standby of the server and starts it. The server acknowledges nothing from now on that the standby does
// not have.
func (s *Server) Standby() *Server {
	s.t.Helper()
	standby := &Server{t: s.t, bin: s.bin, port: FreePort(s.t), settings: s.settings}
	standby.makeFolder("")
	standby.Follow(s)
	return standby
}

// Follow makes the server, which does not run, a standby of another one from nothing, and starts it.
func (s *Server) Follow(primary *Server) {
	s.t.Helper()
	if err := os.RemoveAll(s.data); err != nil {
		s.t.Fatal(err)
	}
	s.must("pg_basebackup", "--host", "127.0.0.1", "--port", strconv.Itoa(primary.port), "--username", "sallyport", "--pgdata", s.data,
		"--write-recovery-conf", "--wal-method", "stream", "--checkpoint", "fast", "--no-sync")
	s.Start()
	primary.SQL("ALTER SYSTEM SET synchronous_standby_names = '*'")
	primary.SQL("SELECT pg_reload_conf()")
	for primary.SQL("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != "1" {
	}
}

// Promote makes a standby a primary, which waits for no standby.
func (s *Server) Promote() {
	s.t.Helper()
	s.SetFile("postgresql.auto.conf", "")
	s.must("pg_ctl", "--pgdata", s.data, "--wait", "promote")
}

// SQL runs a statement as the owner of the cluster, in the database postgres, and returns what it prints.
func (s *Server) SQL(statement string) string {
	s.t.Helper()
	out, err := s.output("psql", "--no-psqlrc", "--host", filepath.Dir(s.data), "--port", strconv.Itoa(s.port), "--username", "sallyport", "--dbname", "postgres",
		"--tuples-only", "--no-align", "--command", statement)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// Script runs a script of psql as a user.
func (s *Server) Script(user, text string) {
	s.t.Helper()
	s.SetFile("script.sql", text)
	s.must("psql", "--no-psqlrc", "--host", filepath.Dir(s.data), "--port", strconv.Itoa(s.port), "--username", user, "--dbname", "postgres",
		"--set", "ON_ERROR_STOP=1", "--file", filepath.Join(s.data, "script.sql"))
}

// SetFile writes a file in the folder of the cluster, as the user of the server.
func (s *Server) SetFile(name, content string) {
	s.t.Helper()
	path := filepath.Join(s.data, name)
	err := os.WriteFile(path+".new", []byte(content), 0o600)
	if owner := owner(); owner != nil && err == nil {
		err = os.Chown(path+".new", int(owner.Uid), int(owner.Gid))
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// KillProcesses ends every process of the server by SIGKILL.
func (s *Server) KillProcesses() {
	s.t.Helper()
	for _, pid := range s.Signal(syscall.SIGKILL) {
		for runs(pid) {
			time.Sleep(time.Millisecond)
		}
	}
	// The process is there as long as its parent does not look, which would keep the server from starting again.
	_ = os.Remove(filepath.Join(s.data, "postmaster.pid"))
	_ = os.Remove(filepath.Join(filepath.Dir(s.data), fmt.Sprintf(".s.PGSQL.%d.lock", s.port)))
}

// runs reports whether there is a process that has not ended.
func runs(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.HasPrefix(text[bytes.LastIndexByte(text, ')')+1:], []byte(" Z"))
}

// Signal sends a signal to every process of the server, and returns which they are.
func (s *Server) Signal(number syscall.Signal) (pids []int) {
	s.t.Helper()
	return signal(s.postmaster(), number)
}

// postmaster returns the first process of the server.
func (s *Server) postmaster() int {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.data, "postmaster.pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	process, err := strconv.Atoi(line)
	if err != nil {
		s.t.Fatal(err)
	}
	return process
}

// signal sends a signal to a process and its children.
func signal(process int, number syscall.Signal) (pids []int) {
	if number == syscall.SIGCONT {
		_ = syscall.Kill(process, number)
	} else {
		_ = syscall.Kill(process, syscall.SIGSTOP) // so that it starts no other
	}
	pids = append(children(process), process)
	for _, pid := range pids {
		_ = syscall.Kill(pid, number)
	}
	return pids
}

// children returns the processes whose parent is pid.
func children(pid int) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) > 1 && fields[1] == fmt.Sprint(pid) {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, child)
		}
	}
	return pids
}

// Running reports whether the server runs.
func (s *Server) Running() bool { return s.run("pg_ctl", "--pgdata", s.data, "status") == nil }

// Address returns the host and port of the server.
func (s *Server) Address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }
