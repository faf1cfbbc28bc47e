package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// office is the tenant's own web server: the start page, the tenant page, and the identity provider.
func (w *World) office() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", w.servePage("start.html"))
	mux.HandleFunc("GET /tenant", w.servePage("tenant.html"))
	mux.HandleFunc("GET /state", w.tenant.serveState)
	w.pages.assets(mux)
	deed := func(pattern string, f func(*http.Request) error) {
		mux.HandleFunc(pattern, func(rw http.ResponseWriter, r *http.Request) { answer(rw, f(r)) })
	}
	deed("POST /hire", func(r *http.Request) error { return w.tenant.hire(r.FormValue("name"), r.FormValue("team")) })
	deed("POST /people/{id}/move", func(r *http.Request) error { return w.tenant.move(r.PathValue("id"), r.FormValue("team")) })
	deed("POST /people/{id}/offboard", func(r *http.Request) error { return w.tenant.offboard(r.PathValue("id")) })
	deed("POST /people/{id}/restore", func(r *http.Request) error { return w.tenant.restore(r.PathValue("id")) })
	mux.Handle("/"+w.tenant.issuer.ID+"/", w.tenant.issuer)
	return ownHostOnly(hostOf(w.places.Tenant), http.NewCrossOriginProtection().Handler(mux))
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// ownHostOnly refuses names that were made to lead to 127.0.0.1 (DNS rebinding): other sites' pages may not click here.
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

func (w *World) servePage(name string) http.HandlerFunc {
	page := struct {
		places
		Folder, Config string
	}{w.places, w.settings.Folder, string(w.config)}
	return func(rw http.ResponseWriter, _ *http.Request) { w.pages.write(rw, name, page) }
}

// serveState streams the state, anew after each change, as server-sent events.
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
