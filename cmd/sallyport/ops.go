package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"sallyport/config"
)

// metrics returns a registry with the metrics of every part.
func (s *server) metrics() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "sallyport_build_info", Help: "1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": version, "revision": commit(), "goversion": runtime.Version()}})
	build.Set(1)
	reg.MustRegister(build, s.reloader.successful, s.reloader.successTime,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, part := range []interface{ Collectors() []prometheus.Collector }{
		s.components.store, s.components.directory, s.components.sessions, s.components.record, s.provider, s.proxy, s.scim, s.certs, s.proxyProto,
	} {
		reg.MustRegister(part.Collectors()...)
	}
	return reg
}

// opsHandler serves operators, without authentication: it must never be public.
func (s *server) opsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{Registry: s.registry}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	return mux
}

// ready answers whether decisions can be made now. The identity provider being
// away does not count: those signed in go on working.
func (s *server) ready(w http.ResponseWriter, _ *http.Request) {
	if err := s.components.directory.Fresh(); err != nil {
		http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

func healthcheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the running server whether it is ready (for container health checks)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := config.Load(configPath(cmd))
			if err != nil {
				return err
			}
			return checkReady(cmd.Context(), file.Listen.Ops)
		},
	}
}

// readMetrics is the running server's metrics.
func readMetrics(ctx context.Context, addr string) (string, error) {
	_, body, err := askOps(ctx, addr, "/metrics")
	return body, err
}

// checkReady asks the ops listener at addr.
func checkReady(ctx context.Context, addr string) error {
	status, _, err := askOps(ctx, addr, "/readyz")
	if err != nil {
		return fmt.Errorf("the server does not answer on its ops listener: %w", err)
	}
	if status != http.StatusOK {
		return fmt.Errorf("the server is not ready: %d %s", status, http.StatusText(status))
	}
	return nil
}

// askOps asks the ops listener at addr.
func askOps(ctx context.Context, addr, path string) (status int, body string, err error) {
	ctx, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable(addr)+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	return resp.StatusCode, string(data), err
}

// reachable turns "every address" into one that can be dialled.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
