package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sallyport/disk/disktest"
)

// TestReliability_Disk lets the disk of store and record fail at a random time under load: it becomes full, or read-only, or files
// cannot grow any more. Whatever was acknowledged before and meanwhile is there afterwards, whether the disk recovers under
// the running server or the server is killed and started again; requests are allowed or get 503, and those that are allowed are recorded, unless the disk loses what was written within a second; on a
// full disk a deactivation is accepted and has an effect; and the record is sound.
func TestReliability_Disk(t *testing.T) {
	t.Parallel()
	trials(t, 3, func(c *trial) {
		w := newWorld(c.T)
		data := filepath.Join(w.dir, "data")
		kind := []string{"full", "read-only", "files cannot grow"}[c.n%3]
		switch kind {
		case "full":
			mountDisk(c.T, data, "24m")
		case "read-only":
			mountExt4(c, data)
		}
		s := w.settle(w.start("--init"))
		bob := s.push.hire("bob", "00000000-0000-4000-8000-00000000000b")
		l := &diskLoad{trial: c, stage: s}
		l.begin()
		time.Sleep(c.within(200 * time.Millisecond))
		release := func() {}
		switch kind {
		case "full":
			release = fillDisk(c.T, data)
		case "read-only":
			abortExt4(c, data)
		case "files cannot grow":
			release = s.server.limitFiles(c.T, uint64(4096+c.IntN(200_000)))
		}
		time.Sleep(c.within(500 * time.Millisecond))
		if kind == "full" {
			s.push.setActive(bob, "False")
		}
		killed := kind == "read-only" || c.IntN(2) == 0
		if killed {
			s.server.kill()
		}
		switch {
		case kind == "read-only":
			remount(c, data)
		case kind == "full" || !killed:
			release()
		}
		if killed {
			l.end()
			s.server = w.start()
			s.push = w.pusher(s.server)
			c.count(kind + ", then killed")
		} else {
			c.count(kind + ", then recovered")
		}
		s.server.awaitReady(c.T)
		l.end()
		s.push.demandUsers(l.hired)
		if u := s.push.send("GET", "/Users/"+bob, nil, http.StatusOK); kind == "full" && u["active"] != false {
			c.Errorf("the deactivation is lost: %v", u)
		}
		if status, detail := s.push.tryHire("again@example.com"); status != http.StatusCreated {
			c.Errorf("afterwards a push gets %d %s", status, detail)
		}
		s.server.demandSound(c.T, filepath.Join(data, "audit.jsonl"))
		// Decisions are forced to the disk once a second, so that a disk which loses what it has in memory may lose some.
		if n := strings.Count(s.server.verb("audit", "export", "--kind", "decision"), `"decision":"allow"`); n < l.allowed && kind != "read-only" {
			c.Errorf("%d requests were allowed, and %d are recorded", l.allowed, n)
		}
		if kind == "read-only" { // so that the disk can be unmounted
			s.server.kill()
		}
	})
}

// diskLoad is the load on a server whose disk fails.
type diskLoad struct {
	*trial
	*stage
	stop    chan struct{}
	ended   sync.Once
	all     sync.WaitGroup
	hired   []string // users whose creation was acknowledged
	allowed int
}

func (l *diskLoad) begin() {
	l.stop = make(chan struct{})
	b, push := l.newBrowserWith(l.server, l.browser), l.push
	l.all.Go(func() {
		for n := 0; l.goesOn(); n++ {
			name := fmt.Sprintf("user-%d-%d@example.com", l.n, n)
			status, body, err := push.try("POST", "/Users", map[string]any{"userName": name, "externalId": name, "active": true})
			switch {
			case err != nil:
				return // the server was killed
			case status == http.StatusCreated:
				l.hired = append(l.hired, name)
			case status != http.StatusServiceUnavailable:
				l.trial.Errorf("a push gets %d %v", status, body)
				return
			}
		}
	})
	l.all.Go(func() {
		for l.goesOn() {
			status, err := getStatus(b.client, "https://"+appHost+"/", "")
			switch {
			case err != nil:
				return
			case status == http.StatusOK:
				l.allowed++
			case status != http.StatusServiceUnavailable:
				l.trial.Errorf("a request gets %d", status)
				return
			}
		}
	})
}

func (l *diskLoad) goesOn() bool {
	select {
	case <-l.stop:
		return false
	default:
		return true
	}
}

func (l *diskLoad) end() {
	l.ended.Do(func() { close(l.stop) })
	l.all.Wait()
}

// mountExt4 mounts a small ext4, which can be made read-only while files are open for writing.
func mountExt4(c *trial, dir string) {
	c.Helper()
	image := filepath.Join(c.TempDir(), "image")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(image, nil, 0o600), os.Truncate(image, 64<<20)); err != nil {
		c.Fatal(err)
	}
	for _, command := range [][]string{{"mkfs.ext4", "-q", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			c.Skipf("%q: %v: %s", command, err, out)
		}
	}
	c.Cleanup(func() { disktest.Unmount(dir) })
}

// abortExt4 makes the kernel treat the ext4 at dir as if its disk had failed: it is read-only from now on.
func abortExt4(c *trial, dir string) {
	c.Helper()
	if out, err := exec.Command("mount", "-o", "remount,abort", dir).CombinedOutput(); err != nil {
		c.Skipf("making the disk read-only: %v: %s", err, out)
	}
}

// remount mounts the ext4 at dir again, for writing.
func remount(c *trial, dir string) {
	c.Helper()
	source, err := exec.Command("findmnt", "-n", "-o", "SOURCE", dir).Output()
	if err != nil {
		c.Fatal(err)
	}
	device := strings.TrimSpace(string(source))
	image, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(device), "loop/backing_file"))
	if err != nil {
		c.Fatal(err)
	}
	if err := syscall.Unmount(dir, 0); err != nil {
		c.Fatal(err)
	}
	for _, command := range [][]string{{"fsck.ext4", "-p", strings.TrimSpace(string(image))}, {"mount", "-o", "loop", strings.TrimSpace(string(image)), dir}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil && command[0] == "mount" {
			c.Fatalf("%q: %v: %s", command, err, out)
		}
	}
}
