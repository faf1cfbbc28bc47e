package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/config"
	"sallyport/scim"
)

// Bounds of a bundle.
const (
	bundleLines  = 500 // of the record
	bundlePushes = 500 // of the provisioning log
)

func bundleCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "support-bundle FILE",
		Short: "Write what helps to find a fault to FILE (tar.gz), without secrets",
		Long: "Write what helps to find a fault to the new FILE, a tar.gz: the version, the configuration without its secrets, what the doctor\n" +
			"says, metrics, readiness, faults of the store, refused pushes, the goroutines of the server, and the newest lines of the record.\n" +
			"Users, paths and addresses are left out of pushes and of the record, unless --people is given; metrics and findings of the\n" +
			"doctor may name groups and hosts. Parts that cannot be read say why in their place. Read the files before you send them.\n" +
			"The server's log is where standard error goes, and not in the bundle.",
		Example: "  sallyport support-bundle bundle.tar.gz",
		Args:    cobra.ExactArgs(1),
	}
	people := c.Flags().Bool("people", false, "say in the record and in the pushes whom and what they were about")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := os.Lstat(args[0]); err == nil {
			return fmt.Errorf("%s exists already, and a bundle replaces nothing; name another file", args[0])
		}
		b := &bundle{cmd: cmd, people: *people}
		text, err := b.write(cmd.Context())
		if err != nil {
			return err
		}
		if err := writeNewFile(args[0], text); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s has %d files; read them before you send it\n", args[0], b.files)
		return nil
	}
	return c
}

// bundle collects the files of a support bundle.
type bundle struct {
	cmd    *cobra.Command
	people bool
	client *controlClient
	scrub  *scrubber
	out    *tar.Writer
	files  int
}

// bundlePart is a file of the bundle, and what writes it.
type bundlePart struct {
	name string
	make func(context.Context) ([]byte, error)
}

// write returns the bundle. Every file of it is searched for secrets, however it was made.
func (b *bundle) write(ctx context.Context) ([]byte, error) {
	path := configPath(b.cmd)
	redacted, redactErr := config.Redact(path)
	b.scrub = newScrubber(redacted, os.Environ())
	client, clientErr := newControlClient(b.cmd)
	b.client = client
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	b.out = tar.NewWriter(zip)
	parts := []bundlePart{
		{"version.json", func(context.Context) ([]byte, error) { return json.MarshalIndent(ownVersion(), "", "  ") }},
		{"config.yaml", func(context.Context) ([]byte, error) { return redacted.Text, redactErr }},
	}
	for _, part := range []bundlePart{{"doctor.json", b.doctor}, {"readyz.txt", b.ops("/readyz")}, {"metrics.txt", b.ops("/metrics")},
		{"store-faults.json", b.call("/faults")}, {"facts.json", b.facts}, {"pushes.json", b.pushes}, {"record.jsonl", b.record}, {"goroutines.txt", b.goroutines}} {
		if clientErr != nil {
			part.make = func(context.Context) ([]byte, error) { return nil, clientErr }
		}
		parts = append(parts, part)
	}
	if client != nil && client.file != nil && client.file.Store.Postgres != nil {
		parts = append(parts, bundlePart{"database.json", b.database})
	}
	for _, part := range parts {
		if err := b.add(ctx, part); err != nil {
			return nil, err
		}
	}
	err := errors.Join(b.out.Close(), zip.Close(), ctx.Err())
	return out.Bytes(), err
}

func (b *bundle) add(ctx context.Context, part bundlePart) error {
	text, err := part.make(ctx)
	if err != nil {
		part.name, text = part.name+".error", []byte(printableLines(err.Error())+"\n")
		if errors.As(err, new(config.Faults)) { // which quote what they are about
			text = []byte("no running server was found, and the configuration has faults, which `sallyport validate` lists\n")
		}
	}
	text = b.scrub.clean(text)
	b.files++
	err = b.out.WriteHeader(&tar.Header{Name: "sallyport-support/" + part.name, Mode: 0o600, Size: int64(len(text)), ModTime: time.Now().UTC().Truncate(time.Second)})
	if err == nil {
		_, err = b.out.Write(text)
	}
	return err
}

// doctor returns what the doctor says. What quotes the configuration or names people is left out.
func (b *bundle) doctor(ctx context.Context) ([]byte, error) {
	d := &doctor{path: configPath(b.cmd), client: b.client}
	if b.client.err == nil {
		d.file = b.client.file
	}
	d.checkAll(ctx)
	for i, r := range d.results {
		if r.Check == "configuration" && r.State == stateFail || r.Check == "tests" && !b.people || r.Check == "rejected tokens" && !b.people {
			d.results[i].Detail = "run `sallyport doctor` to see it"
		}
	}
	return json.MarshalIndent(d.results, "", "  ")
}

// ops returns what the ops listener responds with.
func (b *bundle) ops(path string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		status, body, err := b.client.getOps(ctx, path)
		return fmt.Appendf(nil, "# %d %s\n%s", status, http.StatusText(status), body), err
	}
}

// call returns what the control socket responds with.
func (b *bundle) call(path string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		var body json.RawMessage
		if err := b.client.call(ctx, http.MethodGet, path, nil, &body); err != nil {
			return nil, err
		}
		var out bytes.Buffer
		err := json.Indent(&out, body, "", "  ")
		return out.Bytes(), err
	}
}

// facts returns how many there are of what.
func (b *bundle) facts(ctx context.Context) ([]byte, error) {
	var stats admin.Stats
	if err := b.client.call(ctx, http.MethodGet, "/facts", nil, &stats); err != nil {
		return nil, err
	}
	if stats.Rejected != nil && !b.people {
		stats.Rejected.Address = ""
	}
	return json.MarshalIndent(stats, "", "  ")
}

// bundledPush is a push without what it was about.
type bundledPush struct {
	Time         time.Time `json:"time"`
	Method       string    `json:"method"`
	Code         int       `json:"code"`
	Milliseconds float64   `json:"ms"`
	Quirks       []string  `json:"quirks,omitempty"`
}

// pushes returns the newest refused pushes.
func (b *bundle) pushes(ctx context.Context) ([]byte, error) {
	var entries []scim.LogEntry
	if err := b.client.call(ctx, http.MethodGet, fmt.Sprintf("/exchanges?refused&n=%d", bundlePushes), nil, &entries); err != nil {
		return nil, err
	}
	if b.people {
		return json.MarshalIndent(entries, "", "  ")
	}
	pushes := []bundledPush{}
	for _, e := range entries {
		pushes = append(pushes, bundledPush{e.Time, e.Method, e.Code, e.Milliseconds, e.QuirkNames()})
	}
	return json.MarshalIndent(pushes, "", "  ")
}

// bundledLine is a line of the record without people, paths and addresses.
type bundledLine struct {
	Seq      uint64     `json:"seq"`
	Time     time.Time  `json:"time"`
	Kind     audit.Kind `json:"kind"`
	Decision string     `json:"decision,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Route    string     `json:"route,omitempty"`
	Rule     string     `json:"rule,omitempty"`
	Method   string     `json:"method,omitempty"`
	Code     int        `json:"code,omitempty"`
	Revision uint64     `json:"rev,omitempty"`
	Actor    string     `json:"actor,omitempty"` // its kind
}

// record returns the newest lines of the record.
func (b *bundle) record(context.Context) ([]byte, error) {
	path, err := b.client.auditFile()
	if err != nil {
		return nil, err
	}
	record, err := audit.OpenRecord(path)
	if err != nil {
		return nil, err
	}
	defer record.Close()
	var lines [][]byte
	_, err = record.ReadLines(time.Now().AddDate(0, 0, -1), func(l audit.Line, text []byte) error {
		text = bytes.Clone(text)
		if !b.people {
			text, err = json.Marshal(bundledLine{l.Seq, l.Time, l.Kind, l.Decision, l.Reason, l.Route, l.Rule, l.Method, l.Code, l.Revision, string(l.Actor.Kind)})
		}
		if lines = append(lines, text); len(lines) > bundleLines {
			lines = lines[1:]
		}
		return err
	})
	return append(bytes.Join(lines, []byte("\n")), '\n'), err
}

// goroutineDump is the body of the response to what the server does.
type goroutineDump struct {
	Text string `json:"text"`
}

// goroutines responds with what every goroutine does, by function names alone.
func (c *control) goroutines(context.Context, admin.Actor, *http.Request) (any, error) {
	var out bytes.Buffer
	err := pprof.Lookup("goroutine").WriteTo(&out, 1)
	return goroutineDump{fmt.Sprintf("GOMAXPROCS %d, CPUs %d\n%s", runtime.GOMAXPROCS(0), runtime.NumCPU(), &out)}, err
}

func (b *bundle) goroutines(ctx context.Context) ([]byte, error) {
	var dump goroutineDump
	err := b.client.call(ctx, http.MethodGet, "/goroutines", nil, &dump)
	return []byte(dump.Text), err
}
