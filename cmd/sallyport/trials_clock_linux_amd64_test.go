package main

import (
	"bytes"
	"debug/elf"
	native "encoding/binary"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport/entratest"
)

// wallClock is the wall clock of one process, which can be set. No other process notices.
type wallClock struct {
	t      *testing.T
	memory string // the file of the process's memory
	offset int64  // where in it the seconds are that are added
}

// shiftedClock replaces __vdso_clock_gettime: it makes the system call, and adds a number of seconds to CLOCK_REALTIME.
// The number stands behind the code.
var shiftedClock = []byte{
	0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, 228 (clock_gettime)
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi
	0x75, 0x0a, // jne to the ret
	0x48, 0x8b, 0x0d, 0x06, 0x00, 0x00, 0x00, // mov rcx, [rip+6]
	0x48, 0x01, 0x0e, // add [rsi], rcx
	0xc3, // ret
	0x90, 0x90,
}

// startAt starts the server with a wall clock that is ahead by a time.
func (w *world) startAt(t *testing.T, ahead time.Duration, flags ...string) (*running, *wallClock) {
	t.Helper()
	r, pipe := prepare(t, w.dir, flags...)
	runtime.LockOSThread() // the thread that traces must be the one that starts
	defer runtime.UnlockOSThread()
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := r.cmd.Start(); err != nil {
		t.Skipf("tracing the server: %v", err)
	}
	t.Cleanup(r.kill)
	pid := r.cmd.Process.Pid
	if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil { // it has stopped before its first instruction
		t.Fatal(err)
	}
	c := newWallClock(t, pid)
	c.set(ahead)
	if err := syscall.PtraceDetach(pid); err != nil {
		t.Fatal(err)
	}
	r.awaitListeners(pipe)
	return r, c
}

func newWallClock(t *testing.T, pid int) *wallClock {
	t.Helper()
	c := &wallClock{t: t, memory: fmt.Sprintf("/proc/%d/mem", pid)}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	var from, to int64
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "[vdso]") {
			if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
				t.Fatal(err)
			}
		}
	}
	memory, err := os.Open(c.memory)
	if err != nil {
		t.Skipf("reading the server's memory: %v", err)
	}
	defer memory.Close()
	vdso := make([]byte, to-from)
	if _, err := memory.ReadAt(vdso, from); err != nil {
		t.Skipf("reading the server's vDSO: %v", err)
	}
	file, err := elf.NewFile(bytes.NewReader(vdso))
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			at := from + int64(s.Value)
			c.offset = at + int64(len(shiftedClock))
			c.write(at, shiftedClock)
			return c
		}
	}
	t.Skip("the vDSO has no clock_gettime")
	return nil
}

// set sets the clock ahead of the real time.
func (c *wallClock) set(ahead time.Duration) {
	c.t.Helper()
	c.write(c.offset, native.LittleEndian.AppendUint64(nil, uint64(int64(ahead/time.Second))))
}

func (c *wallClock) write(at int64, data []byte) {
	c.t.Helper()
	memory, err := os.OpenFile(c.memory, os.O_WRONLY, 0)
	if err != nil {
		c.t.Skipf("writing the server's memory: %v", err)
	}
	defer memory.Close()
	if _, err := memory.WriteAt(data, at); err != nil {
		c.t.Skipf("writing the server's memory: %v", err)
	}
}

// TestReliability_Clock sets the clock of the server forward and back, also over a restart. A session that has expired by the clock does not come back when it is set back, unless the server is killed within the minute;
// a provisioning token follows the clock; whoever is deactivated stays so; and the record is sound.
func TestReliability_Clock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, _ := w.startAt(t, 0, "--init")
	stage := w.settle(s)
	bob := w.entra.Add(entratest.Person{UPN: "bob@example.com", Name: "Bob"})
	bobID := stage.push.hire("bob", bob.OID)
	stage.push.member("Add", stage.group, bobID)
	stage.push.setActive(bobID, "False")
	bobToken := w.entra.AccessToken(bob, audience, nil)
	s.kill()
	trials(t, 4, func(c *trial) {
		w.t = c.T
		s, clock := w.startAt(c.T, 0)
		b := w.newBrowser(s)
		b.signIn()
		var hour struct{ Token string } // valid for one
		decode(c, s.verb("token", "create", fmt.Sprintf("short-%d", c.n), "--expires-in", "1h", "-o", "json"), &hour)
		used := func() (session, token, deactivated int) {
			c.Helper()
			session = b.fetch("/")
			push := *w.pusher(s)
			push.token = hour.Token
			token, _, err := push.try("GET", "/Users", nil)
			if err != nil {
				c.Fatal(err)
			}
			deactivated, err = getStatus(b.client, "https://"+apiHost+"/", bobToken)
			if err != nil {
				c.Fatal(err)
			}
			return session, token, deactivated
		}
		demand := func(when string, session, token int) {
			c.Helper()
			gotSession, gotToken, deactivated := used()
			if session != 0 && gotSession != session || token != 0 && gotToken != token {
				c.Errorf("%s, the session gets %d and the token %d, want %d and %d", when, gotSession, gotToken, session, token)
			}
			if deactivated == http.StatusOK {
				c.Errorf("%s, somebody deactivated gets %d", when, deactivated)
			}
		}
		const ok, expired, any = http.StatusOK, http.StatusUnauthorized, 0
		demand("at first", ok, ok)
		for range c.IntN(4) {
			clock.set(-c.within(1000 * 24 * time.Hour))
			demand("with the clock set back at first", any, ok)
		}
		clock.set(13*time.Hour + c.within(300*24*time.Hour))
		demand("after everything has expired", expired, expired)
		if c.IntN(2) == 0 {
			c.count("set back")
			clock.set(-c.within(2 * time.Hour))
			demand("with the clock set back", expired, any) // a token follows the clock
		} else {
			c.count("set back over a restart")
			s.kill()
			s, _ = w.startAt(c.T, -c.within(2*time.Hour))
			b = w.newBrowserWith(s, b)
			demand("with the clock set back over a restart", any, any)
		}
		if out := s.verb("audit", "verify"); !strings.Contains(out, "is sound") {
			c.Error(out)
		}
		s.kill()
	})
	w.t = t
}
