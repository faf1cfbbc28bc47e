package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// consoleOptions say how the console is measured.
type consoleOptions struct {
	company  string // the folder of a company that browser/company made
	live     int    // how many live requests there are
	repeats  int    // how often each page is asked for
	screens  int    // on which the console is open
	rounds   int
	duration time.Duration
}

// measureConsole measures the console of a company: the start of its server, every page, the search, and what open pages
// cost the proxy. The server writes into the folder of the company.
func measureConsole(ctx context.Context, args []string) error {
	var o consoleOptions
	flags := flag.NewFlagSet("bench console", flag.ExitOnError)
	flags.StringVar(&o.company, "company", "", "the folder of a company: go test ./browser/company -args -people 100000 -groups 20000 -decisions 2150000 -out FOLDER")
	only := flags.Bool("screens-only", false, "leave out the pages and the search")
	flags.IntVar(&o.live, "live", 10_000, "number of live requests")
	flags.IntVar(&o.repeats, "repeats", 10, "number of requests for each page")
	flags.IntVar(&o.screens, "screens", 10, "number of screens with an open page of the console")
	flags.IntVar(&o.rounds, "rounds", 7, "number of pairs of measurements with and without open pages")
	flags.DurationVar(&o.duration, "for", 4*time.Second, "duration of one measurement of these")
	_ = flags.Parse(args)
	if o.company == "" {
		return fmt.Errorf("-company is missing: %s", flags.Lookup("company").Usage)
	}
	dir, err := filepath.Abs(o.company)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s, err := newSite(ctx, dir)
	defer s.close()
	if err != nil {
		return err
	}
	steps := []func(context.Context, io.Writer, consoleOptions) error{s.reportStart, s.openStreams, s.reportPages, s.reportSearch, s.reportScreens, s.reportMemory}
	if *only {
		steps = slices.Delete(steps, 2, 4)
	}
	for _, step := range steps {
		if err := step(ctx, os.Stdout, o); err != nil {
			return err
		}
		fmt.Println()
	}
	return nil
}

// reportStart starts the server, and says how long it took, and what counting the record took and needed.
func (s *site) reportStart(ctx context.Context, out io.Writer, _ consoleOptions) error {
	record, files := 0.0, 0
	paths, _ := filepath.Glob(filepath.Join(s.dir, "data", "audit*.jsonl"))
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		record, files = record+float64(info.Size()), files+1
	}
	fmt.Fprintf(out, "%s, load average %s, a record of %.1f GB in %d files\n\n", time.Now().Format(time.DateOnly), loadAverage(), record/1e9, files)
	listening, ready, err := s.start(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "start: listening after %s, ready after %s, %s\n", round(listening), round(ready), memoryOf(s.pid))
	used := cpuTime(s.pid)
	counted, most, err := s.awaitFigures(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "figures: counted %s after the start, with %s of processor time, at most %.0f MiB of memory of its own meanwhile, then %s, load average %s\n",
		round(counted), round(cpuTime(s.pid)-used), most, memoryOf(s.pid), loadAverage())
	return s.signInto(ctx)
}

func (s *site) reportMemory(_ context.Context, out io.Writer, _ consoleOptions) error {
	fmt.Fprintf(out, "memory at the end: %s\n", memoryOf(s.pid))
	return nil
}

// memory is the resident memory of a process, in MiB: its own, and pages of files, which the kernel may take back.
type memory struct{ own, files, most float64 }

func memoryOf(pid int) (m memory) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		var name string
		var kib float64
		if n, _ := fmt.Sscanf(line, "%s %f kB", &name, &kib); n != 2 {
			continue
		}
		switch name {
		case "RssAnon:":
			m.own = kib / 1024
		case "RssFile:":
			m.files = kib / 1024
		case "VmHWM:":
			m.most = kib / 1024
		}
	}
	return m
}

func (m memory) String() string {
	return fmt.Sprintf("%.0f MiB of its own and %.0f MiB of files (together %.0f at most since the start)", m.own, m.files, m.most)
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

func round(d time.Duration) time.Duration {
	switch {
	case d > 10*time.Second:
		return d.Round(time.Second)
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(100 * time.Microsecond)
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()*1000) }

// newTable returns a table in Markdown.
func newTable(out io.Writer, columns ...string) *tabwriter.Writer {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintf(w, "| %s\t|\n|%s\n", strings.Join(columns, "\t| "), strings.Repeat("---\t|", len(columns)))
	return w
}
