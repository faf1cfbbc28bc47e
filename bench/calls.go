package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// counted are the events that perf counts: system calls, all of them and those that proxies make.
var counted = []string{allCalls, "read", "write", "readv", "writev", "recvfrom", "sendto", "recvmsg", "sendmsg", "pwrite64", "fdatasync",
	"epoll_pwait", "epoll_wait", "epoll_ctl", "futex", "nanosleep", "sched_yield", "setsockopt", "accept4", "tgkill"}

const (
	allCalls = "all calls"
	rareCall = 0.01 // of a request, below which calls are not shown
)

// eventOf returns the name of the event that perf counts.
func eventOf(name string) string {
	if name == allCalls {
		return "raw_syscalls:sys_enter"
	}
	return "syscalls:sys_enter_" + name
}

// systemCalls are how many of what is counted a request needs.
type systemCalls map[string]float64

// reportCalls prints the system calls of the processes for one request, with all connections busy and with a single one. They
// depend less on what else the machine does than times.
func reportCalls(ctx context.Context, out io.Writer, dir string, subjects []subject, o options) error {
	table := newTable(out, "row", "connections", "system calls/request", "of these")
	for _, s := range subjects {
		if s.pid == 0 {
			continue
		}
		for _, connections := range []int{o.connections, 1} {
			calls, err := countCalls(ctx, dir, s, connections, o.duration)
			if err != nil {
				return fmt.Errorf("%s: %w", s.key, err)
			}
			fmt.Fprintf(table, "| %s\t| %d\t| %.1f\t| %s\t|\n", s.key, connections, calls[allCalls], calls)
		}
	}
	return table.Flush()
}

// String lists the calls that are not rare, the most frequent first.
func (c systemCalls) String() string {
	var names []string
	for _, name := range slices.SortedFunc(maps.Keys(c), func(a, b string) int { return cmp.Or(cmp.Compare(c[b], c[a]), cmp.Compare(a, b)) }) {
		if name != allCalls && c[name] >= rareCall {
			names = append(names, fmt.Sprintf("%s %.2f", name, c[name]))
		}
	}
	return strings.Join(names, ", ")
}

// countCalls has perf count the calls of a process and its children during a load.
func countCalls(ctx context.Context, dir string, s subject, connections int, duration time.Duration) (systemCalls, error) {
	clients, err := connect(s, connections)
	defer clients.close()
	if err != nil {
		return nil, err
	}
	if _, err := clients.load(ctx, duration/8); err != nil { // to warm up
		return nil, err
	}
	ctx, stop := context.WithTimeout(ctx, duration+20*time.Second)
	defer stop()
	p, err := startPerf(ctx, filepath.Join(dir, "calls"), family(s.pid))
	if err != nil {
		return nil, err
	}
	if err := p.tell("enable"); err != nil {
		return nil, errors.Join(err, p.end())
	}
	took, err := clients.load(ctx, duration)
	err = errors.Join(err, p.tell("disable"), p.end())
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(p.file)
	if err != nil {
		return nil, err
	}
	return parseCalls(string(text), len(took))
}

// perf is a running perf, which counts once it is told so.
type perf struct {
	cmd     *exec.Cmd
	file    string // to which it writes what it has counted
	said    *strings.Builder
	control *os.File
	replies *os.File
	lines   *bufio.Reader
}

func startPerf(ctx context.Context, file string, pids []int) (p *perf, err error) {
	var events, list []string
	for _, name := range counted {
		events = append(events, eventOf(name))
	}
	for _, pid := range pids {
		list = append(list, strconv.Itoa(pid))
	}
	p = &perf{file: file, said: &strings.Builder{}}
	p.cmd = exec.CommandContext(ctx, "perf", "stat", "-x", ";", "-o", file, "--delay", "-1", "--control", "fd:3,4", "-e", strings.Join(events, ","), "-p", strings.Join(list, ","))
	p.cmd.Stderr = p.said
	commands, control, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer commands.Close()
	replies, done, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, control.Close())
	}
	defer done.Close()
	p.control, p.replies, p.lines = control, replies, bufio.NewReader(replies)
	p.cmd.ExtraFiles = []*os.File{commands, done}
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("-calls needs perf: %w", err), p.control.Close(), p.replies.Close())
	}
	return p, nil
}

// tell has perf do something, and waits until that is done.
func (p *perf) tell(command string) error {
	if _, err := p.control.WriteString(command + "\n"); err != nil {
		return fmt.Errorf("perf ended: %w: %s", err, p.said)
	}
	if _, err := p.lines.ReadString('\n'); err != nil {
		return fmt.Errorf("perf did not reply: %w", err)
	}
	return nil
}

// end has perf write what it has counted, and end.
func (p *perf) end() error {
	_ = p.cmd.Process.Signal(os.Interrupt)
	err := p.cmd.Wait()
	_ = p.control.Close()
	_ = p.replies.Close()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && !exit.Exited() {
		return nil // the signal is how it ends
	}
	if err != nil {
		return fmt.Errorf("perf: %w: %s", err, p.said)
	}
	return nil
}

// parseCalls reads what perf stat -x ';' writes: a line for each event, which begins with its count.
func parseCalls(text string, requests int) (systemCalls, error) {
	calls := systemCalls{}
	for line := range strings.Lines(text) {
		fields := strings.Split(line, ";")
		if len(fields) < 3 {
			continue
		}
		i := slices.IndexFunc(counted, func(name string) bool { return eventOf(name) == fields[2] })
		if i < 0 {
			continue
		}
		n, err := strconv.Atoi(fields[0])
		if err != nil { // such as <not supported>
			return nil, fmt.Errorf("perf counts no %s: %s", counted[i], fields[0])
		}
		calls[counted[i]] = float64(n) / float64(requests)
	}
	if len(calls) != len(counted) {
		return nil, fmt.Errorf("perf has counted %d of %d events: %q", len(calls), len(counted), text)
	}
	return calls, nil
}
