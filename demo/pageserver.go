package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// tenantHandler serves the start page, the tenant page and the identity provider.
func (w *Demo) tenantHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", w.servePage("start.html"))
	mux.HandleFunc("GET /tenant", w.servePage("tenant.html"))
	mux.HandleFunc("GET /state", w.tenant.serveState)
	w.pages.assets(mux)
	action := func(pattern string, f func(*http.Request) error) {
		mux.HandleFunc(pattern, func(rw http.ResponseWriter, r *http.Request) { writeResult(rw, f(r)) })
	}
	action("POST /hire", func(r *http.Request) error { return w.tenant.hire(r.FormValue("name"), r.FormValue("team")) })
	action("POST /people/{id}/move", func(r *http.Request) error { return w.tenant.move(r.PathValue("id"), r.FormValue("team")) })
	action("POST /people/{id}/offboard", func(r *http.Request) error { return w.tenant.offboard(r.PathValue("id")) })
	action("POST /people/{id}/restore", func(r *http.Request) error { return w.tenant.restore(r.PathValue("id")) })
	mux.Handle("/"+w.tenant.issuer.ID+"/", w.tenant.issuer)
	return ownHostOnly(hostOf(w.endpoints.Tenant), http.NewCrossOriginProtection().Handler(mux))
}

func writeResult(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// ownHostOnly rejects other host names that resolve to 127.0.0.1 (DNS rebinding), so that pages of other sites cannot
// send requests.
func ownHostOnly(host string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != host {
			http.Error(w, "this is http://"+host, http.StatusMisdirectedRequest)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		next.ServeHTTP(w, r)
	})
}

func (w *Demo) servePage(name string) http.HandlerFunc {
	page := struct {
		endpoints
		Folder, Config string
	}{w.endpoints, w.settings.Folder, string(w.config)}
	return func(rw http.ResponseWriter, _ *http.Request) { w.pages.write(rw, name, page) }
}

// serveState sends the state as a server-sent event, now and after each change.
func (t *tenant) serveState(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w).Flush
	for {
		changed := t.journal.watch()
		now, err := json.Marshal(t.state())
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", now); err != nil || flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}
