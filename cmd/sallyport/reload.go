package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/config"
)

// pollInterval is how often the files are compared with what was last read.
const pollInterval = 2 * time.Second

// What makes the server reload without an operator's command, as the actor of the reload.
var (
	causeSignal = admin.System("SIGHUP")
	causeChange = admin.System("changed file")
)

// reloader keeps the settings in force equal to the configuration file. A file with a fault changes nothing.
type reloader struct {
	path    string
	started *config.File
	apply   func(context.Context, *config.File) error
	log     *slog.Logger

	reloading sync.Mutex   // one reload at a time; guards latest and seen
	latest    *config.File // the last without a fault; the files that it names are watched
	seen      []byte       // digest of the watched files when they were last compared

	mu      sync.Mutex    // guards what follows
	inForce *config.File  // the last that was applied
	pending []string      // changed keys that are not in force before a restart
	since   time.Time     // when inForce was put in force
	refused *failedReload // the last attempt, if it failed

	successful, successTime prometheus.Gauge
}

func newReloader(path string, file *config.File, apply func(context.Context, *config.File) error, log *slog.Logger) *reloader {
	r := &reloader{path: path, started: file, latest: file, inForce: file, since: time.Now().UTC(), apply: apply, log: log,
		successful: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sallyport_config_last_reload_successful",
			Help: "1 if the configuration file, when last read, was put in force; else 0."}),
		successTime: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sallyport_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration file was last put in force."}),
	}
	r.seen = r.digest(file)
	r.succeeded()
	return r
}

func (r *reloader) succeeded() {
	r.successful.Set(1)
	r.successTime.SetToCurrentTime()
}

// Run calls reload for every signal from hup and every change of a watched file, until ctx ends.
func (r *reloader) Run(ctx context.Context, hup <-chan os.Signal, reload func(context.Context, admin.Actor) error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-hup:
			r.logReload(causeSignal, reload(ctx, causeSignal))
		case <-tick.C:
			if r.contentChanged() {
				r.logReload(causeChange, reload(ctx, causeChange))
			}
		}
	}
}

// logReload logs a reload that could not be recorded; Reload logs everything else.
func (r *reloader) logReload(cause admin.Actor, err error) {
	if errors.Is(err, admin.ErrNotRecorded) {
		r.log.Error("a reload could not be recorded", "cause", cause.Name, "err", err)
	}
}

// Reload reads the file and puts it in force. If it has a fault, the settings in force stay, and the error says why.
func (r *reloader) Reload(ctx context.Context) error {
	r.reloading.Lock()
	defer r.reloading.Unlock()
	err := r.load(ctx)
	if err != nil {
		r.successful.Set(0)
		r.loaded(nil, nil, err)
		r.log.Error("configuration not reloaded; the former settings stay in force", "err", err)
		return err
	}
	r.succeeded()
	r.log.Info("configuration reloaded")
	return nil
}

func (r *reloader) load(ctx context.Context) error {
	r.seen = r.digest(r.latest) // before the file is read, so that a change from now on is seen
	file, err := config.Load(r.path)
	if err != nil {
		return err
	}
	if !slices.Equal(r.watched(file), r.watched(r.latest)) {
		r.seen = r.digest(file)
	}
	r.latest = file
	if err := r.apply(ctx, file); err != nil {
		return err
	}
	pending := needRestart(r.started, file)
	if len(pending) > 0 {
		r.log.Warn("some changed settings take effect only after a restart", "keys", strings.Join(pending, ", "))
	}
	r.loaded(file, pending, nil)
	return nil
}

// NeedRestart returns the keys that have changed since the server started and are not in force before it is restarted,
// as of the last reload.
func (r *reloader) NeedRestart() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pending
}

// PublicURL returns the URL of the settings in force.
func (r *reloader) PublicURL() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inForce.PublicURL
}

// fixed are the settings that a running server does not change, by their keys. docs/configuration.md has them too.
var fixed = []struct {
	key string
	of  func(*config.File) any
}{
	{"store", func(f *config.File) any { return f.Store }},
	{"control", func(f *config.File) any { return f.Control }},
	{"oidc", func(f *config.File) any { return f.OIDC.UserAttribute }},
	{"audit.file", func(f *config.File) any { return f.Audit.File }},
	{"audit.reserve", func(f *config.File) any { return f.Audit.Reserve }},
}

// needRestart returns the changed keys that a running server does not change.
func needRestart(started, file *config.File) (keys []string) {
	for _, setting := range fixed {
		if !reflect.DeepEqual(setting.of(started), setting.of(file)) {
			keys = append(keys, setting.key)
		}
	}
	return keys
}

func (r *reloader) contentChanged() bool {
	r.reloading.Lock()
	defer r.reloading.Unlock()
	now := r.digest(r.latest)
	if bytes.Equal(now, r.seen) {
		return false
	}
	r.seen = now
	return true
}

// watched returns the paths of the configuration file and of those that it names for their content.
func (r *reloader) watched(file *config.File) []string {
	return append([]string{r.path}, file.ReadFiles()...)
}

// maxWatched is how many bytes of a watched file are compared.
const maxWatched = 4 << 20

// digest returns a digest of the watched files. A file that cannot be read counts as empty, so that the digest changes
// once it can be read again.
func (r *reloader) digest(file *config.File) []byte {
	h := sha256.New()
	for _, path := range r.watched(file) {
		data, _ := readWatched(path)
		fmt.Fprintf(h, "%d:", len(data))
		h.Write(data)
	}
	return h.Sum(nil)
}

// readWatched reads an ordinary file. Nothing else is opened, since that may wait without end, as for a named pipe.
func readWatched(path string) ([]byte, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxWatched))
}

func reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "reload",
		Short:       "Have the running server read its configuration again",
		Long:        "Have the running server read its configuration again. Exits with 1 if something that was changed needs a restart.",
		Example:     "  sallyport reload",
		Annotations: exits(exitError, "an error, or something that was changed takes effect only after a restart"),
		Args:        cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := newControlClient(cmd)
			if err != nil {
				return err
			}
			var result reloadResult
			if err := client.call(cmd.Context(), http.MethodPost, "/reload", nil, &result); err != nil {
				return err
			}
			if len(result.NeedRestart) > 0 {
				return fmt.Errorf("reloaded, except what was changed and takes effect only after a restart (or `sallyport upgrade`): %s", strings.Join(result.NeedRestart, ", "))
			}
			fmt.Fprintln(cmd.OutOrStdout(), "reloaded; all of the file is in force")
			return nil
		},
	}
}
