package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/audit/rollup"
	"sallyport/console/manage"
)

// runFigures counts what the record says, and samples metrics, until ctx ends.
func (s *server) runFigures(ctx context.Context) error {
	sampled := prometheus.NewRegistry() // the others take longer: some ask the database
	for _, c := range append(s.proxy.Collectors(), s.components.sessions.Collectors()...) {
		if err := sampled.Register(c); err != nil {
			return err
		}
	}
	return s.rollup.Run(ctx, s.file.Audit.File, rollup.Metrics{Gatherer: sampled, Seconds: "sallyport_http_request_duration_seconds",
		Live: "sallyport_live_requests", Sessions: "sallyport_sessions_active", LeaveOut: []string{"_none", "_internal", manage.RouteName}}, s.log)
}
