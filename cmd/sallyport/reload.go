package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
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
	path  string
	apply func(*config.File) error
	log   *slog.Logger

	mu      sync.Mutex // guards what follows
	started *config.File
	latest  *config.File // the last without a fault; the files that it names are watched
	pending []string     // changed keys that are not in force before a restart
	seen    []byte       // digest of the watched files when they were last compared

	successful, successTime prometheus.Gauge
}

func newReloader(path string, file *config.File, apply func(*config.File) error, log *slog.Logger) *reloader {
	r := &reloader{path: path, started: file, latest: file, apply: apply, log: log,
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
func (r *reloader) Reload(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.load()
	if err != nil {
		r.successful.Set(0)
		r.log.Error("configuration not reloaded; the former settings stay in force", "err", err)
		return err
	}
	r.succeeded()
	r.log.Info("configuration reloaded")
	return nil
}

func (r *reloader) load() error {
	r.seen = r.digest(r.latest) // before the file is read, so that a change from now on is seen
	file, err := config.Load(r.path)
	if err != nil {
		return err
	}
	if !slices.Equal(r.watched(file), r.watched(r.latest)) {
		r.seen = r.digest(file)
	}
	r.latest = file
	if err := r.apply(file); err != nil {
		return err
	}
	r.pending = needRestart(r.started, file)
	if len(r.pending) > 0 {
		r.log.Warn("some changed settings take effect only after a restart", "keys", strings.Join(r.pending, ", "))
	}
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
	return r.latest.PublicURL
}

// needRestart returns the changed keys that a running server cannot change.
func needRestart(old, new *config.File) (keys []string) {
	changed := func(key string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			keys = append(keys, key)
		}
	}
	changed("public_url", old.PublicURL, new.PublicURL)
	changed("listen", old.Listen, new.Listen)
	changed("limits.connections", old.Limits.Listen.Connections, new.Limits.Listen.Connections)
	changed("limits.connections_per_address", old.Limits.Listen.ConnectionsPerAddress, new.Limits.Listen.ConnectionsPerAddress)
	changed("tls.off", old.TLS.Off, new.TLS.Off)
	changed("tls.acme", old.TLS.ACME, new.TLS.ACME)
	changed("store", old.Store, new.Store)
	changed("control", old.Control, new.Control)
	changed("oidc", old.OIDC, new.OIDC)
	changed("session", old.Session, new.Session)
	changed("scim", old.SCIM, new.SCIM)
	changed("audit", old.Audit, new.Audit)
	changed("log", old.Log, new.Log)
	changed("history", old.History, new.History)
	return keys
}

func (r *reloader) contentChanged() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.digest(r.latest)
	if bytes.Equal(now, r.seen) {
		return false
	}
	r.seen = now
	return true
}

// watched returns the paths of the configuration file and of the certificate that it names.
func (r *reloader) watched(file *config.File) []string {
	return []string{r.path, file.TLS.CertFile, file.TLS.KeyFile}
}

// digest returns a digest of the watched files. A file that cannot be read counts as empty, so that the digest changes
// once it can be read again.
func (r *reloader) digest(file *config.File) []byte {
	h := sha256.New()
	for _, path := range r.watched(file) {
		data, _ := os.ReadFile(path)
		fmt.Fprintf(h, "%d:", len(data))
		h.Write(data)
	}
	return h.Sum(nil)
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
				return fmt.Errorf("reloaded, except what takes effect only after a restart and was changed: %s", strings.Join(result.NeedRestart, ", "))
			}
			fmt.Fprintln(cmd.OutOrStdout(), "reloaded; all of the file is in force")
			return nil
		},
	}
}
